package pagi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"
)

// readBuffer holds one piece of a request body.
type readBuffer [32 << 10]byte

var readBuffers = sync.Pool{New: func() any { return new(readBuffer) }}

// bodyRead is the outcome of one read of the request body.
type bodyRead struct {
	n   int
	err error
}

// receive is the application's Receive.
func (x *exchange) receive(ctx context.Context) (Event, error) {
	if x.conn.ended.Load() && (x.ended.Load() || inCallback()) { // a callback would wait for its own end
		return HTTPDisconnect{}, nil
	}
	if ev, err := x.receiveRequest(ctx); ev != nil || err != nil {
		return ev, err
	}
	return x.receiveEnd(ctx)
}

// receiveRequest returns the next event of the request, nil where there is none.
func (x *exchange) receiveRequest(ctx context.Context) (Event, error) {
	x.rmu.Lock()
	defer x.rmu.Unlock()
	switch {
	case x.conn.ended.Load():
	case !x.bodyDone.Load():
		return x.receiveBody(ctx)
	case x.bodyRead == 0 && x.bodyLeft == 0:
		x.bodyLeft = -1 // the one event of a request without a body is given now
		return HTTPRequest{}, nil
	}
	return nil, nil
}

// receiveEnd waits for the request's end.
func (x *exchange) receiveEnd(ctx context.Context) (Event, error) {
	if x.ended.Load() {
		return HTTPDisconnect{}, nil
	}
	x.watch()
	select {
	case <-x.endSignal():
	case <-ctx.Done():
		if !x.ended.Load() {
			return nil, context.Cause(ctx)
		}
	}
	return HTTPDisconnect{}, nil
}

// receiveBody reads the next piece of the body from the client. It returns nil where
// that fails, which ends the request.
func (x *exchange) receiveBody(ctx context.Context) (Event, error) {
	if x.buf == nil {
		x.buf = readBuffers.Get().(*readBuffer)
	}
	for {
		got, err := x.read(ctx)
		if err != nil {
			return nil, err
		}
		if x.inner.Load() != nil { // gone may have left it to this read to tell
			x.notice()
		}
		x.bodyRead += int64(got.n)
		if max := x.h.MaxBodySize; max > 0 && x.bodyRead > max {
			x.logLimit("request body is too large", optionMaxBodySize, max)
			x.refuse(http.StatusRequestEntityTooLarge, ReasonBodyTooLarge)
			return nil, nil
		}
		switch {
		case got.err == io.EOF:
			x.bodyLeft = -1
			x.bodyDone.Store(true)
		case got.err != nil:
			return nil, nil
		case x.bodyLeft > 0:
			if x.bodyLeft -= int64(got.n); x.bodyLeft == 0 {
				x.bodyLeft = -1
				x.bodyDone.Store(true)
			}
		}
		if got.n > 0 || x.bodyDone.Load() {
			return x.piece(got)
		}
	}
}

// read reads once from the request body. The read itself cannot be broken off
// without losing the connection, so where ctx may end before the request does it
// goes on in the background and the next read takes its outcome.
func (x *exchange) read(ctx context.Context) (bodyRead, error) {
	if x.pending == nil {
		x.reading.Store(true)
		if ctx == x.ctx || ctx.Done() == nil || ctx.Done() == x.ctx.Done() {
			return x.readOnce(), nil
		}
		pending := make(chan bodyRead, 1)
		x.pending = pending
		go func() { pending <- x.readOnce() }()
	}
	select {
	case got := <-x.pending:
		x.pending = nil
		return got, nil
	case <-ctx.Done():
		if !x.reading.Load() { // a client that leaves with its last piece ends ctx, too
			got := <-x.pending
			x.pending = nil
			return got, nil
		}
		return bodyRead{}, context.Cause(ctx)
	}
}

// readOnce reads from the client and ends the request when that fails. reading
// stays set then: the reason is known here, and gone need not guess one. It was set before
// the end is looked for, so that releaseBody either sees it or need not wake anybody.
func (x *exchange) readOnce() bodyRead {
	if d := x.h.BodyTimeout; d > 0 {
		// A ResponseWriter without deadlines leaves the host server's in force.
		_ = x.rc.SetReadDeadline(time.Now().Add(d))
	}
	if x.conn.ended.Load() {
		x.reading.Store(false)
		return bodyRead{0, errGivenUp}
	}
	n, err := x.r.Body.Read(x.buf[:])
	if err != nil && err != io.EOF {
		x.readFailed(err)
		return bodyRead{n, err}
	}
	x.reading.Store(false)
	x.touch()
	return bodyRead{n, err}
}

// readFailed ends the request because its body cannot be read.
func (x *exchange) readFailed(err error) {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge): // an http.MaxBytesReader around us
		x.refuse(http.StatusRequestEntityTooLarge, ReasonBodyTooLarge)
	case errors.Is(err, os.ErrDeadlineExceeded):
		x.refuse(http.StatusRequestTimeout, ReasonClientTimeout)
	case errors.Is(err, io.ErrUnexpectedEOF), x.r.ProtoMajor >= 2:
		x.refuse(0, x.goneReason(ReasonClientClosed))
	case isConnectionError(err):
		x.refuse(0, x.goneReason(ReasonReadError))
	default: // broken chunked framing
		x.refuse(http.StatusBadRequest, ReasonProtocolError)
	}
}

func isConnectionError(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) || errors.Is(err, os.ErrClosed) || errors.Is(err, http.ErrBodyReadAfterClose)
}

// refuse ends a request whose body is at fault or has broken off, with an answer unless
// its response has begun or status is 0. It waits for a running Send: with the
// response complete the request is, too, whatever its body.
func (x *exchange) refuse(status int, reason string) {
	x.mu.Lock()
	if x.phase == phaseComplete {
		x.mu.Unlock()
		return
	}
	rest := func() { x.disconnect(reason) }
	if status != 0 && !x.closed && x.phase <= phaseHeld {
		x.answer(status, "", nil, true)
		rest = x.answered(reason)
	}
	x.mu.Unlock()
	rest()
}

// releaseBody wakes a Receive that reads still, though the request has ended, and waits
// for it. It reports whether the body was read to its end.
func (x *exchange) releaseBody() bool {
	if x.reading.Load() {
		_ = x.rc.SetReadDeadline(past) // where unsupported, the body's end wakes it
	}
	x.rmu.Lock()
	defer x.rmu.Unlock()
	if x.pending != nil {
		<-x.pending
		x.pending = nil
	}
	return x.bodyDone.Load()
}

// recycle gives the read buffer back when the application, which may look at the last
// piece of the body until then, has returned. It follows leave.
func (x *exchange) recycle() {
	if x.buf != nil {
		readBuffers.Put(x.buf)
		x.buf = nil
	}
}
