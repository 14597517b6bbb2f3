package apps

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/headername"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/request"
)

// probeTime is how long a request without Content-Length may leave open whether it has a body.
const probeTime = 100 * time.Millisecond

// proxyBody is the body of a request on its way to a backend. The transport reads it, on a
// goroutine of its own that may still run when the response is complete.
type proxyBody struct {
	length int64 // -1: not known; 0: there is no body
	// trailers are filled when the body has been read to its end; nil: there can be none.
	trailers http.Header

	mu       sync.Mutex // held by the running Read
	body     *request.Body
	cancel   context.CancelFunc
	ended    bool
	begun    atomic.Bool           // something was read, or was about to be
	unwanted atomic.Bool           // the backend has gone
	failed   atomic.Pointer[error] // what has ended reading, other than io.EOF
}

// openBody finds out whether the request has a body.
func openBody(ctx context.Context, scope *pagi.Scope, receive pagi.Receive) (*proxyBody, error) {
	length, ok := lengthOf(scope.Headers)
	if !ok {
		return nil, &pagi.StatusError{Status: http.StatusBadRequest, Message: "Bad Request", Err: errors.New("the request has a wrong Content-Length")}
	}
	b := &proxyBody{length: length}
	if length == 0 {
		return b, nil
	}
	expects := scope.Headers.HasToken("expect", "100-continue")
	if length < 0 && !expects { // a client that waits for 100 Continue has a body, and must not get that yet
		first, err := probe(ctx, receive)
		if err != nil {
			return nil, err
		}
		if first, is := first.(pagi.HTTPRequest); is && !first.More && len(first.Trailers) == 0 {
			b.length = int64(len(first.Body))
			if b.length == 0 {
				return b, nil
			}
		}
		receive = beginning(first, receive)
	}
	b.trailers = announced(scope.Headers)
	if len(b.trailers) > 0 {
		b.length = -1 // HTTP/1 has trailers behind chunks only
	}
	bodyCtx, cancel := context.WithCancel(ctx)
	b.body, b.cancel = request.BodyReader(bodyCtx, receive), cancel
	return b, nil
}

// probe returns the first event of the body; nil if it has not come soon.
func probe(ctx context.Context, receive pagi.Receive) (pagi.Event, error) {
	short := &probeContext{Context: ctx}
	defer short.end()
	first, err := receive(short)
	if err != nil && short.hasEnded() && ctx.Err() == nil {
		return nil, nil
	}
	if _, gone := first.(pagi.HTTPDisconnect); gone && err == nil {
		err = request.ErrDisconnected
	}
	return first, err
}

// probeContext ends after probeTime. It begins to count when it is asked for the first time: a
// Receive of a request without a body does not ask.
type probeContext struct {
	context.Context
	once    sync.Once
	limited atomic.Pointer[limitedContext]
}

type limitedContext struct {
	context.Context
	cancel context.CancelFunc
}

func (c *probeContext) limit() context.Context {
	c.once.Do(func() {
		limited, cancel := context.WithTimeout(c.Context, probeTime)
		c.limited.Store(&limitedContext{limited, cancel})
	})
	return c.limited.Load()
}

// Deadline implements context.Context.
func (c *probeContext) Deadline() (time.Time, bool) { return c.limit().Deadline() }

// Done implements context.Context.
func (c *probeContext) Done() <-chan struct{} { return c.limit().Done() }

// Err implements context.Context.
func (c *probeContext) Err() error { return c.limit().Err() }

// Value implements context.Context. context.Cause asks for a value that only the limited context
// has.
func (c *probeContext) Value(key any) any {
	if limited := c.limited.Load(); limited != nil {
		return limited.Value(key)
	}
	return c.Context.Value(key)
}

func (c *probeContext) hasEnded() bool {
	limited := c.limited.Load()
	return limited != nil && limited.Err() != nil
}

// end releases the timer.
func (c *probeContext) end() {
	if limited := c.limited.Load(); limited != nil {
		limited.cancel()
	}
}

// beginning returns a Receive that returns first before the events of receive.
func beginning(first pagi.Event, receive pagi.Receive) pagi.Receive {
	return func(ctx context.Context) (pagi.Event, error) {
		if ev := first; ev != nil {
			first = nil
			return ev, nil
		}
		return receive(ctx)
	}
}

// announced returns the names in the header Trailer for package net/http, without values.
func announced(headers pagi.Headers) http.Header {
	names := http.Header{}
	for name := range announcedNames(headers) {
		names[headername.Canonical(name)] = nil
	}
	return names
}

// announcedNames returns the set of the names in the header Trailer, in lower case.
func announcedNames(headers pagi.Headers) map[string]struct{} {
	names := map[string]struct{}{}
	for list := range headers.Values("trailer") {
		for name := range strings.SplitSeq(list, ",") {
			if name = headername.Lower(strings.TrimSpace(name)); mayTrail(name) {
				names[name] = struct{}{}
			}
		}
	}
	return names
}

// mayTrail reports whether a field may be in a trailer section: net/http refuses requests that
// announce one of the others.
func mayTrail(name string) bool {
	switch name {
	case "transfer-encoding", "content-length", "trailer":
		return false
	}
	return headername.IsToken(name) && !isHop(name) && !isForwarding(name)
}

// bodyAttempt is a proxyBody in one attempt to send the request. The transport closes it, also if
// nothing was read.
type bodyAttempt struct {
	attempt *proxyAttempt
	body    *proxyBody
	closed  atomic.Bool
}

// Read implements io.Reader.
func (r *bodyAttempt) Read(p []byte) (int, error) {
	if r.attempt.expects {
		if err := r.attempt.awaitContinue(); err != nil {
			return 0, err
		}
	}
	if r.closed.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	r.body.begun.Store(true)
	if r.attempt.gone.Load() {
		return 0, http.ErrBodyReadAfterClose
	}
	return r.body.read(p, &r.attempt.patience, r.attempt.awaitResponse)
}

// Close implements io.Closer. It ends a Read that runs. A body of which nothing was read may go
// into another attempt.
func (r *bodyAttempt) Close() error {
	r.closed.Store(true)
	if r.body.begun.Load() {
		r.body.giveUp()
	}
	return nil
}

// read reads from the client. The time in which it waits for the client is none of the backend's.
func (b *proxyBody) read(p []byte, waiting *patience, resume func()) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return 0, http.ErrBodyReadAfterClose
	}
	waiting.rest()
	n, err := b.body.Read(p)
	resume()
	switch {
	case err == io.EOF:
		for _, t := range b.body.Trailers() {
			if key := headername.Canonical(t.Name); mayTrail(t.Name) {
				b.trailers[key] = append(b.trailers[key], t.Value)
			}
		}
	case err != nil && b.unwanted.Load():
		return n, http.ErrBodyReadAfterClose
	case err != nil:
		b.failed.Store(&err)
	}
	return n, err
}

// giveUp ends a Read that runs, because the backend does not want more.
func (b *proxyBody) giveUp() {
	b.unwanted.Store(true)
	b.cancel()
}

// end ends a Read that runs, and all later ones. The events of the scope are not used any more.
func (b *proxyBody) end() {
	if b.body == nil {
		return
	}
	b.cancel()
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
}

// failure returns why the body could not be read from the client. It does not wait for a Read.
func (b *proxyBody) failure() error {
	if err := b.failed.Load(); err != nil {
		return *err
	}
	return nil
}
