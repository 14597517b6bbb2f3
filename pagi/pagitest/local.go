package pagitest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
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
	e.seq = sequence{scope: e.Scope, length: -1}
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

func (e *local) send(ctx context.Context, ev pagi.Event) error {
	select {
	case <-e.gone:
		return nil
	default:
	}
	completed, leaving, size, err := e.record(ev)
	if err != nil {
		return err
	}
	if e.backlog != nil {
		e.backlog.put(ev, size)
		err = e.backlog.settle(ctx, completed, e.gone)
	}
	if completed && err == nil {
		e.complete()
		e.doneOnce.Do(func() { close(e.done) })
	}
	if e.backlog == nil {
		select {
		case e.sent <- delivery{ev, leaving}:
		case <-e.gone:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
	}
	if err != nil {
		select {
		case <-e.gone: // which has ended ctx, too
			return nil
		default:
			return err
		}
	}
	switch _, declined := ev.(pagi.SSEHTTPResponseBody); {
	case completed && declined:
		e.cancel(&pagi.DisconnectError{Reason: pagi.ReasonClientClosed}) // the connection has ended with it
	case leaving:
		e.disconnect(e.leave.reason)
	}
	return nil
}

// record checks ev and adds it to the response. completed says that the event was the last one,
// leaving that the client leaves after it. size is how many bytes of the body it has brought.
func (e *local) record(ev pagi.Event) (completed, leaving bool, size int, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	defer func() {
		if err != nil && e.res.Err == nil {
			e.res.Err = err
		}
	}()
	if err := e.seq.check(ev); err != nil {
		return false, false, 0, err
	}
	before := len(e.res.Body)
	switch v := ev.(type) {
	case pagi.HTTPResponseInformational:
		e.res.Informational = append(e.res.Informational, v)
	case pagi.HTTPResponseStart:
		e.res.Status, e.res.Headers = v.Status, v.Headers.Clone()
		e.control.Start()
	case pagi.HTTPResponseBody:
		if err := e.recordBody(v); err != nil {
			return false, false, 0, err
		}
	case pagi.HTTPResponseTrailers:
		e.res.Trailers = v.Headers.Clone()
	default:
		if err := e.recordSSE(ev); err != nil {
			return false, false, 0, err
		}
	}
	e.res.Events = append(e.res.Events, ev)
	size = max(0, len(e.res.Body)-before)
	leaving, excess := e.leave.isNow(size)
	if excess > 0 {
		e.res.dropLast(excess)
	}
	completed = e.seq.complete() && excess == 0
	return completed, leaving && !completed, size, nil
}

func (e *local) recordBody(v pagi.HTTPResponseBody) error {
	chunk, err := bytesOf(v)
	if err != nil {
		return err
	}
	if err := e.seq.body(int64(len(chunk)), !v.More || v.File != "" || v.FH != nil); err != nil {
		return err
	}
	if e.Scope.Method != "HEAD" && len(chunk) > 0 {
		e.res.Body = append(e.res.Body, chunk...)
		e.res.Chunks = append(e.res.Chunks, chunk)
	}
	return nil
}

// bytesOf returns a copy of the bytes of a body event.
func bytesOf(v pagi.HTTPResponseBody) ([]byte, error) {
	r := v.FH
	switch {
	case v.File != "":
		f, err := os.Open(v.File)
		if err != nil {
			return nil, fmt.Errorf("http.response.body: %w", err)
		}
		defer f.Close()
		r = f
	case v.FH == nil:
		return append([]byte(nil), v.Body...), nil
	}
	if v.Offset > 0 {
		seeker, ok := r.(io.Seeker)
		if !ok {
			return nil, &pagi.EventError{Type: v.EventType(), Field: "offset", Problem: "needs an fh that can seek"}
		}
		if _, err := seeker.Seek(v.Offset, io.SeekStart); err != nil {
			return nil, fmt.Errorf("http.response.body: %w", err)
		}
	}
	if v.Length != pagi.ToEnd {
		r = io.LimitReader(r, v.Length)
	}
	chunk, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("http.response.body: %w", err)
	}
	return chunk, nil
}
