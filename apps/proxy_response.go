package apps

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/apps/internal/upstream"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// headTime is how long the head of a response waits for the first piece of its body, with which it
// leaves in one write.
const headTime = time.Millisecond

// errSwitched is a backend's fault: nothing has asked it to change the protocol.
var errSwitched = errors.New("the backend has switched to another protocol, which was not asked for")

// relay passes a response on.
func (a *proxyAttempt) relay(ctx context.Context, res *http.Response) error {
	defer res.Body.Close() // it is read, or given up
	_, lengthy := res.Header["Content-Length"]
	h := responseHead{status: res.StatusCode, headers: asPAGI(res.Header), length: res.ContentLength, lengthy: lengthy}
	for name := range res.Trailer { // net/http has removed the header
		h.headers.Add("trailer", name)
	}
	h.trailers = len(res.Trailer) > 0 || res.ContentLength < 0 && a.headers.Has("te")
	goesOn, err := a.relayHead(ctx, a.backend, &h)
	if !goesOn || err != nil {
		return err
	}
	if err := a.relayBody(ctx, res); err != nil || !h.trailers {
		return err
	}
	return a.send(ctx, pagi.HTTPResponseTrailers{Headers: trailersOf(asPAGI(res.Trailer))})
}

// responseHead is the head of a backend's response.
type responseHead struct {
	status   int
	headers  pagi.Headers // also those for the connection
	length   int64        // -1: not known
	lengthy  bool         // it has the header Content-Length
	trailers bool         // some may follow
}

// relayHead passes the head of a response on. goesOn says that the body follows.
func (x *proxied) relayHead(ctx context.Context, b *upstream.Backend, h *responseHead) (goesOn bool, err error) {
	x.answered = h.status
	bare := x.scope.Method == http.MethodHead || h.status == http.StatusNoContent || h.status == http.StatusNotModified
	h.trailers = h.trailers && !bare
	names := ""
	if h.trailers {
		names = trailerNames(h.headers)
	}
	headers, err := x.responseHeaders(x.scope, b, h.headers)
	switch {
	case err != nil:
	case h.status == http.StatusSwitchingProtocols:
		err = errSwitched
	case h.status < 200 || h.status > 999:
		err = fmt.Errorf("the backend has sent the status %d", h.status)
	}
	if err != nil {
		x.pool.Failed(b, err)
		x.logFailure(b, err)
		return false, reply.Status(ctx, x.scope, x.send, http.StatusBadGateway)
	}
	x.pool.Succeeded(b)
	if h.length >= 0 && (!bare || h.lengthy) && h.status != http.StatusNoContent {
		headers.Set("content-length", strconv.FormatInt(h.length, 10))
	}
	if names != "" {
		headers.Set("trailer", names)
	}
	if err := x.send(ctx, pagi.HTTPResponseStart{Status: h.status, Headers: headers, Trailers: h.trailers}); err != nil {
		return false, err
	}
	if bare {
		return false, x.send(ctx, pagi.HTTPResponseBody{})
	}
	return true, nil
}

// trailerNames returns the names in the header Trailer that may be passed on.
func trailerNames(headers pagi.Headers) string {
	return strings.Join(slices.Sorted(maps.Keys(announcedNames(headers))), ", ")
}

// trailersOf returns the trailers that may be passed on.
func trailersOf(trailers pagi.Headers) (headers pagi.Headers) {
	for _, h := range trailers {
		if mayTrail(h.Name) && (pagi.Headers{h}).Validate("") == nil {
			headers = append(headers, h)
		}
	}
	return headers
}

var proxyBuffers = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// relayBody passes the body of a response on, each piece as it comes.
func (a *proxyAttempt) relayBody(ctx context.Context, res *http.Response) error {
	buf := proxyBuffers.Get().(*[32 << 10]byte)
	defer proxyBuffers.Put(buf)
	idle := a.IdleTimeout
	over := a.overdue("the next piece of the body", "idle_timeout", idle)
	first := headTime
	if isEventStream(res.Header.Get("Content-Type")) {
		idle, first = 0, time.Nanosecond
	}
	var early *earlyHead
	if res.ContentLength >= 0 && res.ContentLength <= int64(len(buf)) {
		a.patience.await(idle, over) // a short body of known length comes with its head
	} else {
		early = &earlyHead{a: a, ctx: ctx, then: func() { a.patience.await(idle, over) }}
		a.patience.await(first, early.send)
	}
	for {
		n, err := res.Body.Read(buf[:])
		if early != nil {
			early.end()
			early = nil
		}
		a.patience.done()
		if err == io.EOF {
			return a.send(ctx, pagi.HTTPResponseBody{Body: buf[:n]})
		}
		if n > 0 {
			if err := a.send(ctx, pagi.HTTPResponseBody{Body: buf[:n], More: true}); err != nil {
				return err
			}
		}
		if err != nil {
			return a.broken(ctx, a.backend, err)
		}
		a.patience.await(idle, over)
	}
}

// isEventStream reports whether a Content-Type is that of an event stream.
func isEventStream(contentType string) bool {
	mediaType, _, _ := strings.Cut(contentType, ";")
	return strings.EqualFold(strings.TrimSpace(mediaType), "text/event-stream")
}

// broken ends a response whose body has broken off. The server cuts the connection, so that the
// client can tell.
func (x *proxied) broken(ctx context.Context, b *upstream.Backend, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	x.logger.Warn("proxy: the response of the backend has broken off", x.scope.Notes.Append([]any{
		"backend", b.Name, "method", x.scope.Method, "path", x.scope.RootPath + x.scope.Path, "client", x.scope.Client.Host, "error", err,
	})...)
	return http.ErrAbortHandler
}

// earlyHead sends the head of a response whose body does not come at once.
type earlyHead struct {
	a    *proxyAttempt
	ctx  context.Context
	then func()

	mu    sync.Mutex
	ended bool
}

// send is called by the timer of the attempt's patience.
func (e *earlyHead) send() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended {
		return
	}
	e.then()
	_ = e.a.send(e.ctx, pagi.HTTPResponseBody{More: true}) // what is wrong shows at the next piece
}

// end waits for a send that runs.
func (e *earlyHead) end() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.ended = true
}
