package middleware

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/headername"
	"github.com/pagi-go/pagi-bridge/internal/httpfile"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// ConditionalGet answers 304 to a GET or HEAD whose client has the body already (RFC 9110 section
// 13): if the response of 200 has an ETag that If-None-Match has, or without that header a
// Last-Modified that is not later than If-Modified-Since. Tags are compared weakly.
//
// The application makes its response all the same; what is left of it is dropped. A 304 has the
// headers of the response except for those that describe the body. ConditionalGet acts in http
// scopes, and stands around ETag.
type ConditionalGet struct{}

func init() { parts.Middleware[ConditionalGet]("conditional_get") }

// Check reports nothing: there are no options.
func (m ConditionalGet) Check() error { return nil }

// Wrap puts m around next.
func (m ConditionalGet) Wrap(next pagi.App) pagi.App {
	on := onward(next)
	return wrapPassage(m, next, func(ctx context.Context, p passage) error {
		scope, h := p.scope, p.scope.Headers
		if scope.Type != pagi.TypeHTTP || scope.Method != "GET" && scope.Method != "HEAD" || !h.Has("if-none-match") && !h.Has("if-modified-since") {
			return on(ctx, p)
		}
		c := &conditional{request: h, send: p.sender()}
		return next.Serve(ctx, scope, p.receive, c.event)
	})
}

// conditional is the response to one conditional request.
type conditional struct {
	request pagi.Headers
	send    pagi.Send

	mu          sync.Mutex
	notModified bool // 304 was sent
}

func (c *conditional) event(ctx context.Context, ev pagi.Event) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.notModified {
		return nil
	}
	e, is := ev.(pagi.HTTPResponseStart)
	if !is || e.Status != http.StatusOK || !httpfile.NotModified(c.request, e.Headers.Get("etag"), lastModified(e.Headers)) {
		return c.send(ctx, ev)
	}
	if err := c.send(ctx, pagi.HTTPResponseStart{Status: http.StatusNotModified, Headers: withoutContent(e.Headers)}); err != nil {
		return err
	}
	c.notModified = true
	return c.send(ctx, pagi.HTTPResponseBody{})
}

// lastModified returns the date of Last-Modified, zero if there is none.
func lastModified(h pagi.Headers) time.Time {
	t, err := http.ParseTime(h.Get("last-modified"))
	if err != nil {
		return time.Time{}
	}
	return t
}

// withoutContent returns the headers of a 304: those of 200 without the ones that describe or frame
// the body (RFC 9110 section 15.4.5). Last-Modified, ETag and Content-Location stay, because caches
// use them to find the copy that is meant.
func withoutContent(h pagi.Headers) pagi.Headers {
	kept := make(pagi.Headers, 0, len(h))
	for _, line := range h {
		switch headername.Lower(line.Name) {
		case "content-type", "content-length", "content-encoding", "content-language", "content-range", "content-disposition",
			"content-md5", "digest", "content-digest", "repr-digest", "accept-ranges", "transfer-encoding", "trailer":
		default:
			kept = append(kept, line)
		}
	}
	return kept
}
