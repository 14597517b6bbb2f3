package pagitest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/pagi-go/pagi-bridge/internal/lint"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// visitHeader is the header by which the server's side of an exchange finds the test's. The
// application does not see it.
const visitHeader = "pagitest-exchange"

var (
	visits  sync.Map // of *visit by the value of visitHeader
	visited atomic.Uint64
)

// visit is the server's side of an exchange over a Carrier. It applies what the test wants of the
// scope, checks and records the application's events, and notes how the application ended.
type visit struct {
	id     string
	client Client // its fields at the beginning
	scheme string // of the scope; "": the server's
	edits  []func(*pagi.Scope)

	called       chan struct{} // closed when scope is set
	callOnce     sync.Once
	scope        *pagi.Scope   // of the first call
	complete     chan struct{} // closed when the server has taken the last event of the response
	completeOnce sync.Once
	ended        chan struct{} // closed when the server is done with the request
	endedOnce    sync.Once
	appErr       error // valid once ended is closed

	leaves    chan struct{} // closed when the client is to leave
	leaveOnce sync.Once

	mu       sync.Mutex // guards the rest
	leave    *leaving
	seq      sequence
	events   []pagi.Event
	own      pagi.Headers  // of the response, as the application has sent them; nil: none yet
	sizes    []int         // of the pieces of the body; -1: the rest, a file
	wrong    error         // the first event the specification forbids
	received int64         // bytes of the request body that the application has got
	whole    bool          // and also its end
	change   chan struct{} // closed and replaced when these two change
}

// visit begins one. forget must be called at its end.
func (c *Client) visit(r *request) *visit {
	v := &visit{
		id:       strconv.FormatUint(visited.Add(1), 10),
		client:   *c,
		scheme:   or(r.scheme, c.Scheme),
		edits:    r.edits,
		called:   make(chan struct{}),
		complete: make(chan struct{}),
		ended:    make(chan struct{}),
		change:   make(chan struct{}),
		leaves:   make(chan struct{}),
		leave:    r.leave.copied(),
	}
	visits.Store(v.id, v)
	return v
}

func (v *visit) forget() { visits.Delete(v.id) }

// host is the application that a Carrier's server calls.
func host(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	id := scope.Headers.Get(visitHeader)
	found, ok := visits.Load(id)
	if !ok {
		if scope.Type == pagi.TypeLifespan {
			return pagi.Unsupported(scope)
		}
		return fmt.Errorf("pagitest: request %q is of no exchange that is still running", id)
	}
	return found.(*visit).serve(ctx, scope, receive, send)
}

// hostDone is the observer of a Carrier's server.
func hostDone(r *engine.Record) {
	if found, ok := visits.Load(r.Header(visitHeader)); ok {
		found.(*visit).end(r.Err)
	}
}

func (v *visit) end(err error) {
	v.endedOnce.Do(func() { v.appErr = err; close(v.ended) })
}

func (v *visit) serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	scope = v.adapt(scope)
	v.mu.Lock()
	v.seq = sequence{scope: scope}
	v.mu.Unlock()
	v.callOnce.Do(func() { v.scope = scope; close(v.called) })
	if scope.Type == pagi.TypeWebSocket {
		return v.client.App.Serve(ctx, scope, receive, func(sendCtx context.Context, ev pagi.Event) error {
			return v.sent(ctx, ev, send(sendCtx, ev))
		})
	}
	return v.client.App.Serve(ctx, scope,
		func(ctx context.Context) (pagi.Event, error) { return v.gotten(receive(ctx)) },
		func(sendCtx context.Context, ev pagi.Event) error {
			if err := v.check(ev); err != nil {
				return v.sent(ctx, ev, err)
			}
			return v.sent(ctx, ev, send(sendCtx, ev))
		})
}

// adapt makes the scope that the client's fields and the test ask for.
func (v *visit) adapt(s *pagi.Scope) *pagi.Scope {
	scope, c := s.Clone(), &v.client
	scope.Headers = s.Headers.Clone()
	scope.Headers.Del(visitHeader)
	if c.RootPath != "" {
		scope = scope.Mount(c.RootPath)
	}
	if v.scheme != "" {
		scope.Scheme = v.scheme
		if scope.Type == pagi.TypeWebSocket {
			scope.Scheme = webSocketScheme[v.scheme]
		}
	}
	if c.HTTPVersion != "" {
		scope.HTTPVersion = c.HTTPVersion
	}
	if c.Extensions != nil {
		scope.Extensions = maps.Clone(c.Extensions)
		if scope.Type == pagi.TypeSSE {
			delete(scope.Extensions, pagi.ExtInformational)
		}
	}
	for _, edit := range v.edits {
		edit(scope)
	}
	return scope
}

// check applies the rules of memory to an event before the server gets it.
func (v *visit) check(ev pagi.Event) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.seq.check(ev); err != nil {
		return err
	}
	switch e := ev.(type) {
	case pagi.HTTPResponseStart:
		v.own = append(pagi.Headers{}, e.Headers...)
	case pagi.SSEStart:
		v.own = append(pagi.Headers{}, e.Headers...)
	case pagi.SSEHTTPResponseStart:
		v.own, v.sizes = append(pagi.Headers{}, e.Headers...), nil
	case pagi.SSESend:
		v.sizes = append(v.sizes, len(engine.AppendSSE(nil, &e)))
	case pagi.SSEComment:
		v.sizes = append(v.sizes, len(engine.AppendSSEComment(nil, e.Comment)))
	case pagi.HTTPResponseBody:
		if e.File != "" || e.FH != nil {
			v.sizes = append(v.sizes, -1)
			v.seq.length = lint.Length{} // the server counts
			return v.seq.body(0, true)
		}
		v.sizes = append(v.sizes, len(e.Body))
		return v.seq.body(int64(len(e.Body)), !e.More)
	case pagi.SSEHTTPResponseBody:
		v.sizes = append(v.sizes, len(e.Body))
		return v.seq.body(int64(len(e.Body)), !e.More)
	case pagi.SSEClose:
		v.seq.bodyDone = true
	}
	return nil
}

// sent records an event of the application, or that it is forbidden. After the last one that the
// client wants it waits until the server has noticed that the client has left. ctx is that of the
// application.
func (v *visit) sent(ctx context.Context, ev pagi.Event, err error) error {
	if !v.record(ev, err) {
		return err
	}
	v.leaveOnce.Do(func() { close(v.leaves) })
	if connection := v.connection(); connection != nil {
		connection.Disconnected() // makes the server look
	}
	<-ctx.Done()
	return err
}

// connection returns the Connection of the latest scope.
func (v *visit) connection() pagi.Connection {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.seq.scope.Connection
}

// record reports whether the client leaves now.
func (v *visit) record(ev pagi.Event, err error) (leaving bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	var wrong *pagi.EventError
	switch {
	case err == nil:
		v.events = append(v.events, ev)
		if v.seq.complete() {
			v.completeOnce.Do(func() { close(v.complete) })
			return false
		}
		leaving, _ = v.leave.isNow(messageSize(ev))
	case v.wrong == nil && errors.As(err, &wrong):
		v.wrong = err
	}
	return leaving
}

// gotten counts what the application receives.
func (v *visit) gotten(ev pagi.Event, err error) (pagi.Event, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch e := ev.(type) {
	case pagi.HTTPRequest:
		v.received, v.whole = v.received+int64(len(e.Body)), !e.More
	case pagi.SSERequest:
		v.received, v.whole = v.received+int64(len(e.Body)), !e.More
	}
	close(v.change)
	v.change = make(chan struct{})
	return ev, err
}

// progress returns how much of the body the application has received, and a channel that is closed
// when that changes.
func (v *visit) progress() (received int64, whole bool, change <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.received, v.whole, v.change
}

// isCalled reports whether the application was called.
func (v *visit) isCalled() bool {
	select {
	case <-v.called:
		return true
	default:
		return false
	}
}

// forbidden returns the error about the first event that the specification forbids.
func (v *visit) forbidden() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.wrong
}

// hasSent reports whether the application has sent an event that is allowed.
func (v *visit) hasSent() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.events) > 0
}

// framing are headers that a server adds to the response of an application.
var framing = map[string]bool{"date": true, "connection": true, "content-length": true}

// withoutFraming returns the headers of a response without those that the server has added to frame
// it. An answer of the server's own keeps them.
func (v *visit) withoutFraming(headers pagi.Headers) pagi.Headers {
	v.mu.Lock()
	own := v.own
	v.mu.Unlock()
	if own == nil {
		return headers
	}
	return slices.DeleteFunc(headers, func(h pagi.Header) bool { return framing[h.Name] && !own.Has(h.Name) })
}

// cut cuts body into the pieces that the application has sent. ok is false if body is not what it
// has sent. The caller holds mu.
func (v *visit) cut(body []byte) (pieces [][]byte, ok bool) {
	for _, n := range v.sizes {
		if n < 0 {
			n = len(body)
		}
		if n > len(body) {
			return nil, false
		}
		if n > 0 {
			pieces = append(pieces, body[:n:n])
		}
		body = body[n:]
	}
	return pieces, len(body) == 0
}

// size returns how many bytes of body the application has sent, without those of files.
func (v *visit) size() (n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.seq.scope.Method == "HEAD" {
		return 0
	}
	for _, size := range v.sizes {
		n += max(size, 0)
	}
	return n
}
