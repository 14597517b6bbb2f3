package pagitest

import (
	"context"
	"errors"
	"maps"
	"runtime/debug"
	"sync"

	"github.com/pagi-go/pagi-bridge/internal/bodyread"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// local is an exchange in memory.
type local struct {
	*Exchange
	conn     pagi.Connection
	control  *engine.ConnectionControl
	timed    context.Context // ends with the client's timeout
	stop     func()
	ctx      context.Context // ends with timed or with the disconnect
	cancel   context.CancelCauseFunc
	requests chan pagi.HTTPRequest
	after    pagi.Headers // the trailers of the request
	sent     chan delivery
	returned chan struct{} // closed when the application has returned
	appErr   error         // valid once returned is closed
	gone     chan struct{} // closed on disconnect
	goneOnce sync.Once
	done     chan struct{} // closed when the response is complete
	doneOnce sync.Once

	backlog *backlog // nil: the test takes each event before the next

	mu    sync.Mutex // guards the rest
	seq   sequence
	res   *Response
	leave *leaving

	received bool // the application has received a part of the request body
	whole    bool // and also the last one
}

// delivery is an event on its way to the test.
type delivery struct {
	event   pagi.Event
	leaving bool // the client leaves with it
}

func (x *Exchange) beginLocal(method, target string, r *request) {
	e := &local{
		Exchange: x,
		requests: make(chan pagi.HTTPRequest),
		after:    r.after,
		sent:     make(chan delivery),
		returned: make(chan struct{}),
		gone:     make(chan struct{}),
		done:     make(chan struct{}),
	}
	x.course = e
	e.Scope, e.conn, e.control = e.client.scope(method, target, r)
	e.seq = sequence{scope: e.Scope}
	e.leave = r.leave.copied()
	if r.slow {
		e.backlog = newBacklog(r.high, r.low)
		e.Scope.Transport = e.backlog.meter
	}
	e.res = &Response{Connection: e.conn}
	e.timed, e.stop = context.WithTimeoutCause(context.Background(), e.client.timeout(), &pagi.DisconnectError{Reason: pagi.ReasonClientTimeout})
	e.ctx, e.cancel = context.WithCancelCause(e.timed)
	context.AfterFunc(e.timed, func() {
		if e.timedOut() { // otherwise Finish came first
			e.disconnect(pagi.ReasonClientTimeout)
		}
	})
	if !r.stream {
		go e.feed(r.chunks)
	}
	if e.leave != nil && e.leave.events == 0 {
		e.disconnect(e.leave.reason)
	}
	go e.serve()
}

func (e *local) timedOut() bool { return errors.Is(e.timed.Err(), context.DeadlineExceeded) }

func (e *local) serve() {
	defer close(e.returned)
	defer func() {
		if p := recover(); p != nil {
			e.appErr = &pagi.PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	e.appErr = e.client.App.Serve(e.ctx, e.Scope, e.receive, e.send)
	if errors.Is(e.appErr, pagi.ErrUnsupported) && e.leaveStream() {
		e.appErr = e.client.App.Serve(e.ctx, e.seq.scope, e.receive, e.send)
	}
}

// leaveStream replaces the sse scope that the application has declined by an http scope, as a
// server does, if no event was sent or received yet.
func (e *local) leaveStream() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.Scope.Type != pagi.TypeSSE || e.seq.started || e.received {
		return false
	}
	scope := e.Scope.Clone()
	scope.Type, scope.Connection, scope.Extensions = pagi.TypeHTTP, e.conn, maps.Clone(e.Scope.Extensions)
	scope.Extensions[pagi.ExtInformational] = struct{}{}
	scope.Stash.Clear() // as Notes are
	e.seq.scope = scope
	return true
}

// isStream reports whether the application is in an sse scope.
func (e *local) isStream() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.seq.scope.Type == pagi.TypeSSE
}

func (e *local) feed(chunks [][]byte) {
	for i, body := range chunks {
		piece := pagi.HTTPRequest{Body: body, More: i < len(chunks)-1}
		if !piece.More {
			piece.Trailers = e.after
		}
		if e.offer(piece) != nil {
			return // the application did not want it
		}
	}
}

func (e *local) offer(ev pagi.HTTPRequest) error {
	select {
	case e.requests <- ev:
		return nil
	case <-e.gone:
		return errors.New("the client has disconnected")
	case <-e.returned:
		return errors.New("the application has returned")
	}
}

func (e *local) write(piece []byte) error {
	return e.offer(pagi.HTTPRequest{Body: piece, More: true})
}

func (e *local) closeBody() error { return e.offer(pagi.HTTPRequest{Trailers: e.after}) }

func (e *local) receive(ctx context.Context) (pagi.Event, error) {
	select {
	case <-e.gone:
		return e.disconnected(ctx)
	case <-e.done:
		return e.disconnected(ctx)
	default:
	}
	if bodyread.Wanted(ctx) && e.bodyReceived() {
		return nil, bodyread.ErrRead
	}
	select {
	case ev := <-e.requests:
		e.mu.Lock()
		e.received, e.whole = true, !ev.More
		e.mu.Unlock()
		if e.isStream() {
			return pagi.SSERequest(ev), nil
		}
		return ev, nil
	case <-e.gone:
		return e.disconnected(ctx)
	case <-e.done:
		return e.disconnected(ctx)
	case <-ctx.Done():
		select {
		case <-e.gone: // the disconnect that has ended ctx is an event, too
			return e.disconnected(ctx)
		default:
		}
		return nil, context.Cause(ctx)
	}
}

// bodyReceived reports whether the application has received the whole request body.
func (e *local) bodyReceived() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.whole
}

// disconnected returns the event that the application receives after the end. A declined sse scope
// receives no more events.
func (e *local) disconnected(ctx context.Context) (pagi.Event, error) {
	if !e.isStream() {
		return pagi.HTTPDisconnect{}, nil
	}
	e.mu.Lock()
	reason, declined := e.seq.reason, e.seq.declined
	e.mu.Unlock()
	switch gone := e.conn.DisconnectReason(); {
	case gone != "":
		reason = gone
	case declined:
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	if reason == "" { // an sse.close without a reason
		reason = pagi.ReasonClientClosed
	}
	return pagi.SSEDisconnect{Reason: reason}, nil
}

func (e *local) next() (ev pagi.Event, ok bool) {
	if e.backlog != nil {
		return e.nextBuffered()
	}
	select {
	case d := <-e.sent:
		if d.leaving {
			<-e.gone
		}
		return d.event, true
	case <-e.returned:
		return nil, false
	case <-e.gone:
		return nil, false
	}
}

func (e *local) nextBuffered() (ev pagi.Event, ok bool) {
	for {
		ev, ok, more := e.backlog.take()
		if ok {
			return ev, true
		}
		select {
		case <-more:
		case <-e.returned:
			ev, ok, _ = e.backlog.take() // what it sent last
			return ev, ok
		case <-e.gone:
			return nil, false
		}
	}
}

func (e *local) disconnect(reason string) {
	callbacks, first := e.control.Disconnect(reason)
	callbacks.Run()
	if first {
		e.goneOnce.Do(func() { close(e.gone) }) // first, so that a goroutine that sees the context end finds the event
		e.cancel(&pagi.DisconnectError{Reason: reason})
	}
}

func (e *local) complete() {
	callbacks, _ := e.control.Complete()
	callbacks.Run()
}

func (e *local) finish() *Response {
	defer e.stop()
	defer e.cancel(nil)
	for ok := true; ok; _, ok = e.next() {
	}
	<-e.returned
	e.mu.Lock()
	defer e.mu.Unlock()
	e.judge()
	return e.res
}

// judge sets Err and, if the application has failed, answers as a server would.
func (e *local) judge() {
	if e.appErr == nil && e.seq.returned() {
		e.complete()
	}
	connected := e.conn.IsConnected()
	switch {
	case e.appErr != nil:
		e.res.Err = errors.Join(e.appErr, e.res.Err)
	case e.timedOut() && !e.seq.complete():
		e.res.Err = errors.Join(errLate(e.client), e.res.Err)
	case !connected: // the response is complete, or the client has left: not the application's fault
	case !e.seq.started:
		e.res.Err = errors.Join(errors.New("the application returned without a response"), e.res.Err)
	default:
		e.res.Err = errors.Join(errors.New("the application returned before its response was complete"), e.res.Err)
	}
	if !connected {
		return
	}
	if !e.seq.started {
		e.control.Start()
		e.res.Status = 500
		var status *pagi.StatusError
		if errors.As(e.appErr, &status) {
			e.res.Status, e.res.Headers = status.Status, status.Headers.Clone()
		}
	}
	e.disconnect(pagi.ReasonServerError)
}
