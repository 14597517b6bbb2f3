package pagitest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// remote is an exchange over a Carrier.
type remote struct {
	*Exchange
	visit   *visit
	wire    Wire
	res     *Response
	after   pagi.Headers    // the trailers of the request
	timed   context.Context // ends with the client's timeout
	stop    func()
	written int64
	left    atomic.Bool // the client has disconnected
	leave   *leaving    // by the bytes of the body; nil: not
	// events come from the reader of the connection, which closes it at the end. readErr is valid
	// then.
	events   chan pagi.Event
	readErr  error
	answered chan struct{} // closed when the server has begun to answer
	finished chan struct{} // closed when the test wants no more events
}

func (x *Exchange) beginRemote(via Carrier, err error, method, target string, r *request) {
	e := &remote{
		Exchange: x,
		res:      &Response{Err: err},
		after:    r.after,
		events:   make(chan pagi.Event),
		answered: make(chan struct{}),
		finished: make(chan struct{}),
	}
	x.course = e
	e.timed, e.stop = context.WithTimeout(context.Background(), x.client.timeout())
	if err == nil {
		err = e.open(via, method, target, r)
	}
	if err != nil {
		e.res.Err = fmt.Errorf("pagitest: %w", err)
		if e.timed.Err() != nil {
			e.res.Err = errLate(e.client)
		}
		close(e.events)
		return
	}
	context.AfterFunc(e.timed, func() { _ = e.wire.Close() })
	go e.read()
	if !r.stream {
		go e.feed(r.chunks)
	}
	select { // what follows may look at the scope
	case <-e.visit.called:
		x.Scope = e.visit.scope
	case <-e.answered:
		select {
		case <-e.visit.called:
			x.Scope = e.visit.scope
		default:
		}
	}
}

// open sends the head of the request.
func (e *remote) open(via Carrier, method, target string, r *request) (err error) {
	e.visit = e.client.visit(r)
	if r.leave != nil && r.leave.bytes >= 0 { // what has arrived counts
		e.leave, e.visit.leave = e.visit.leave, nil
	}
	unedited := *r
	unedited.edits = nil // the visit does that
	scope, _, _ := e.client.scope(method, target, &unedited)
	if r.chunked || len(r.after) > 0 { // only a chunked body has trailers
		scope.Headers.Del("content-length")
		scope.Headers.Set("transfer-encoding", "chunked")
	}
	scope.Headers.Add(visitHeader, e.visit.id)
	e.wire, err = via.Request(e.timed, scope)
	return err
}

// read passes on what comes from the server.
func (e *remote) read() {
	defer close(e.events)
	for first := true; ; first = false {
		ev, err := e.wire.Next()
		if err != nil && err != io.EOF {
			e.readErr = err
		}
		if first {
			close(e.answered)
		}
		if err != nil {
			return
		}
		select {
		case e.events <- ev:
		case <-e.finished:
			return
		case <-e.timed.Done(): // nobody takes it
			e.readErr = context.Cause(e.timed)
			return
		}
	}
}

// feed writes the request body. An error means that the server does not want it; its answer says
// why.
func (e *remote) feed(chunks [][]byte) {
	for _, piece := range chunks {
		if len(piece) > 0 && e.wire.Write(piece) != nil {
			return
		}
	}
	_ = e.wire.End(e.after)
}

func (e *remote) write(piece []byte) error {
	if e.wire == nil {
		return e.res.Err
	}
	if len(piece) > 0 {
		if err := e.wire.Write(piece); err != nil {
			return err
		}
	}
	e.written += int64(len(piece))
	return e.taken(func(received int64, _ bool) bool { return received >= e.written })
}

func (e *remote) closeBody() error {
	if e.wire == nil {
		return e.res.Err
	}
	if err := e.wire.End(e.after); err != nil {
		return err
	}
	return e.taken(func(_ int64, whole bool) bool { return whole })
}

// taken waits until the application has received what enough asks for.
func (e *remote) taken(enough func(received int64, whole bool) bool) error {
	for {
		received, whole, change := e.visit.progress()
		if enough(received, whole) {
			return nil
		}
		select {
		case <-change:
		case <-e.visit.ended:
			if received, whole, _ := e.visit.progress(); enough(received, whole) {
				return nil
			}
			return errors.New("the application has returned")
		case <-e.timed.Done():
			return errors.New("the client has disconnected")
		}
	}
}

func (e *remote) next() (pagi.Event, bool) {
	if e.left.Load() {
		return nil, false
	}
	ev, ok := e.nextRead()
	if !ok {
		return nil, false
	}
	switch v := ev.(type) {
	case pagi.HTTPResponseInformational:
		e.res.Informational = append(e.res.Informational, v)
	case pagi.HTTPResponseStart:
		if e.visit != nil {
			v.Headers = e.visit.withoutFraming(v.Headers)
			ev = v
		}
		e.res.Status, e.res.Headers = v.Status, v.Headers
	case pagi.HTTPResponseBody:
		if len(v.Body) > 0 {
			e.res.Body = append(e.res.Body, v.Body...)
			e.res.Chunks = append(e.res.Chunks, v.Body)
			if now, excess := e.leave.isNow(len(v.Body)); now {
				e.res.dropLast(excess)
				e.disconnect("")
			}
		}
	case pagi.HTTPResponseTrailers:
		e.res.Trailers = v.Headers
	}
	return ev, true
}

// nextRead returns the next event that was read. It disconnects when the application has sent as
// many events as the client wants, and all of them have arrived.
func (e *remote) nextRead() (ev pagi.Event, ok bool) {
	if e.visit == nil {
		ev, ok = <-e.events
		return ev, ok
	}
	select {
	case ev, ok = <-e.events:
		return ev, ok
	case <-e.visit.leaves:
	}
	if len(e.res.Body) >= e.visit.size() {
		e.disconnect("")
		return nil, false
	}
	ev, ok = <-e.events
	return ev, ok
}

func (e *remote) disconnect(string) {
	if e.wire != nil && !e.left.Swap(true) {
		_ = e.wire.Close()
	}
}

func (e *remote) finish() *Response {
	defer e.stop()
	if e.wire == nil {
		return e.res
	}
	defer e.visit.forget()
	for _, ok := e.next(); ok; _, ok = e.next() {
	}
	close(e.finished)
	for range e.events { // until the reader has ended
	}
	if e.visit.isCalled() {
		select { // to leave before would be a disconnect
		case <-e.visit.complete:
		case <-e.visit.ended:
		case <-e.timed.Done():
		}
	}
	_ = e.wire.Close()
	if e.visit.isCalled() {
		<-e.visit.ended
	}
	timedOut := e.timed.Err() != nil
	e.judge(timedOut)
	return e.res
}

// judge sets Err, Events and Connection.
func (e *remote) judge(timedOut bool) {
	var appErr error
	if e.visit.isCalled() {
		appErr = e.visit.appErr
	}
	v := e.visit
	v.mu.Lock()
	defer v.mu.Unlock()
	e.res.Err, e.res.Events = v.wrong, v.events
	if v.scope != nil {
		e.Scope, e.res.Connection = v.scope, v.seq.scope.Connection
		v.seq.returned()
	}
	if pieces, ok := v.cut(e.res.Body); ok {
		e.res.Chunks = pieces
	}
	var problem error
	switch {
	case appErr != nil:
		problem = appErr
	case timedOut && !v.seq.complete():
		problem = errLate(e.client)
	case e.left.Load():
	case v.scope == nil || v.seq.complete():
		if e.readErr != nil {
			problem = fmt.Errorf("the response cannot be read: %w", e.readErr)
		}
	case !v.seq.started:
		problem = errors.New("the application returned without a response")
	default:
		problem = errors.New("the application returned before its response was complete")
	}
	if problem != nil {
		e.res.Err = errors.Join(problem, e.res.Err)
	}
}
