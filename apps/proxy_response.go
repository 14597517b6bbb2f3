package apps

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

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
	headers, err := a.responseHeaders(a.scope, a.backend, res.Header)
	switch {
	case err != nil:
	case res.StatusCode == http.StatusSwitchingProtocols:
		err = errSwitched
	case res.StatusCode < 200 || res.StatusCode > 999:
		err = fmt.Errorf("the backend has sent the status %d", res.StatusCode)
	}
	if err != nil {
		a.pool.Failed(a.backend, err)
		a.logFailure(a.backend, err)
		return reply.Status(ctx, a.scope, a.send, http.StatusBadGateway)
	}
	a.pool.Succeeded(a.backend)
	bare := a.scope.Method == http.MethodHead || res.StatusCode == http.StatusNoContent || res.StatusCode == http.StatusNotModified
	if res.ContentLength >= 0 && (!bare || res.Header.Get("Content-Length") != "") && res.StatusCode != http.StatusNoContent {
		headers.Set("content-length", strconv.FormatInt(res.ContentLength, 10))
	}
	trailers := !bare && (len(res.Trailer) > 0 || res.ContentLength < 0 && a.headers.Get("Te") != "")
	if names := trailerNames(res.Trailer); trailers && names != "" {
		headers.Set("trailer", names)
	}
	if err := a.send(ctx, pagi.HTTPResponseStart{Status: res.StatusCode, Headers: headers, Trailers: trailers}); err != nil {
		return err
	}
	if bare {
		return a.send(ctx, pagi.HTTPResponseBody{})
	}
	if err := a.relayBody(ctx, res); err != nil || !trailers {
		return err
	}
	return a.send(ctx, pagi.HTTPResponseTrailers{Headers: trailersOf(res.Trailer)})
}

func trailerNames(trailers http.Header) string {
	var names []string
	for _, h := range headersOf(emptied(trailers)) {
		if mayTrail(h.Name) {
			names = append(names, h.Name)
		}
	}
	return strings.Join(names, ", ")
}

// emptied returns a header map with the same names and one empty value for each.
func emptied(h http.Header) http.Header {
	names := make(http.Header, len(h))
	for name := range h {
		names[name] = []string{""}
	}
	return names
}

func trailersOf(trailers http.Header) (headers pagi.Headers) {
	for _, h := range headersOf(trailers) {
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
	mediaType, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
	idle := a.IdleTimeout
	over := a.overdue("the next piece of the body", "idle_timeout", idle)
	first := headTime
	if strings.EqualFold(strings.TrimSpace(mediaType), "text/event-stream") {
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
			return a.broken(ctx, err)
		}
		a.patience.await(idle, over)
	}
}

// broken ends a response whose body has broken off. The server cuts the connection, so that the
// client can tell.
func (a *proxyAttempt) broken(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	a.logger.Warn("proxy: the response of the backend has broken off", a.scope.Notes.Append([]any{
		"backend", a.backend.Name, "method", a.scope.Method, "path", a.scope.RootPath + a.scope.Path, "client", a.scope.Client.Host, "error", err,
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
