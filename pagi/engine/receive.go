package engine

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/bodyread"
	"github.com/pagi-go/pagi-bridge/pagi"
)

const (
	// readRoom is the largest piece of a request body, and firstRoom that of one whose
	// length is not known until it has shown to be long.
	readRoom  = 32 << 10
	firstRoom = 4 << 10
)

// readBuffer is where pieces of one request's body are read. It is never used for another
// request: the application may have kept a piece, or take one in the moment in which it
// returns, and must then find its own request's bytes.
type readBuffer struct {
	room   []byte
	filled bool // by the last read
}

// bodyRead is the outcome of one read of the request body.
type bodyRead struct {
	n   int
	err error
}

// receive is the application's Receive.
func (x *exchange) receive(ctx context.Context) (pagi.Event, error) {
	if x.end.control.IsOver() && (x.end.over.Load() || inEndCallback()) { // a callback would wait for its own end
		return pagi.HTTPDisconnect{}, nil
	}
	if ev, err := x.receiveRequest(ctx); ev != nil || err != nil {
		return ev, err
	}
	return x.receiveEnd(ctx)
}

// receiveRequest returns the next event of the request, nil where there is none.
func (x *exchange) receiveRequest(ctx context.Context) (pagi.Event, error) {
	x.rmu.Lock()
	defer x.rmu.Unlock()
	switch {
	case x.end.control.IsOver():
	case !x.bodyDone.Load():
		return x.receiveBody(ctx)
	case x.bodyRead == 0 && x.bodyLeft == 0:
		x.bodyLeft = -1 // the one event of a request without a body is given now
		return pagi.HTTPRequest{}, nil
	}
	return nil, nil
}

// receiveEnd waits for the request's end.
func (x *exchange) receiveEnd(ctx context.Context) (pagi.Event, error) {
	if x.end.over.Load() {
		return pagi.HTTPDisconnect{}, nil
	}
	if bodyread.Wanted(ctx) {
		return nil, bodyread.ErrRead
	}
	x.watch()
	select {
	case <-x.end.overSignal():
	case <-ctx.Done():
		if !x.end.over.Load() {
			return nil, context.Cause(ctx)
		}
	}
	return pagi.HTTPDisconnect{}, nil
}

// receiveBody reads the next piece of the body from the client. It returns nil where
// that fails, which ends the request.
func (x *exchange) receiveBody(ctx context.Context) (pagi.Event, error) {
	for {
		got, err := x.read(ctx)
		if err != nil {
			return nil, err
		}
		x.bodyRead += int64(got.n)
		if max := x.h.MaxBodySize; max > 0 && x.bodyRead > max {
			x.logLimit("request body is too large", optionMaxBodySize, max)
			x.refuse(http.StatusRequestEntityTooLarge, pagi.ReasonBodyTooLarge)
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
		x.makeRoom()
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
		if !x.reading.Load() { // the last piece is there: a client that leaves right after it ends ctx
			got := <-x.pending
			x.pending = nil
			return got, nil
		}
		return bodyRead{}, context.Cause(ctx)
	}
}

// makeRoom provides the buffer of the next read, in the size the body seems to need.
func (x *exchange) makeRoom() {
	if x.buf == nil {
		size := int64(firstRoom)
		if x.bodyLeft > 0 {
			size = min(x.bodyLeft, readRoom)
		}
		x.buf = &readBuffer{room: make([]byte, size)}
		return
	}
	if x.buf.filled && x.bodyLeft <= 0 && len(x.buf.room) < readRoom {
		x.buf.room = make([]byte, readRoom)
	}
	x.buf.filled = false
}

// readOnce reads from the client and ends the request when that fails. reading then stays set:
// readFailed reports the reason, and gone must not guess one. The caller sets reading before
// readOnce looks for the end, so that releaseBody never misses a running read.
func (x *exchange) readOnce() bodyRead {
	if d := x.h.BodyTimeout; d > 0 {
		_ = x.stream.SetReadDeadline(time.Now().Add(d))
	}
	if x.end.control.IsOver() {
		x.reading.Store(false)
		return bodyRead{0, errGivenUp}
	}
	n, err := x.r.Body.Read(x.buf.room)
	if err != nil && err != io.EOF {
		x.readFailed(err)
		return bodyRead{n, err}
	}
	x.buf.filled = n == len(x.buf.room)
	x.reading.Store(false)
	x.touch()
	// An end that came during the read has left it to the read to tell. A piece that came
	// with it may have no Receive that waits for it.
	x.notice()
	return bodyRead{n, err}
}

// readFailed ends the request because its body cannot be read.
func (x *exchange) readFailed(err error) {
	if x.end.control.IsOver() {
		return // the end has woken the read
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge): // an http.MaxBytesReader around us
		x.refuse(http.StatusRequestEntityTooLarge, pagi.ReasonBodyTooLarge)
	case errors.Is(err, os.ErrDeadlineExceeded):
		x.h.warn("request body is too slow", "option", optionBodyTimeout, "limit", x.h.BodyTimeout.String(),
			"method", x.r.Method, "path", x.r.URL.Path, "client", x.r.RemoteAddr)
		x.refuse(http.StatusRequestTimeout, pagi.ReasonClientTimeout)
	case errors.Is(err, io.ErrUnexpectedEOF):
		x.refuse(0, x.goneReason(pagi.ReasonClientClosed))
	case isConnectionError(err):
		x.refuse(0, x.goneReason(pagi.ReasonReadError))
	default: // broken chunked framing
		x.logRefused(http.StatusBadRequest, "the framing of the body is malformed")
		x.refuse(http.StatusBadRequest, pagi.ReasonProtocolError)
	}
}

func isConnectionError(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) || errors.Is(err, os.ErrClosed) || errors.Is(err, http.ErrBodyReadAfterClose)
}

// refuse ends a request whose body is at fault or has broken off, with an answer unless
// its response has begun or status is 0. It waits for a running Send: with the
// response complete the request has ended well, whatever is wrong with its body.
func (x *exchange) refuse(status int, reason string) {
	x.mu.Lock()
	if x.phase == phaseComplete {
		x.mu.Unlock()
		return
	}
	rest := func() { x.end.disconnect(reason) }
	if status != 0 && !x.closed && x.phase <= phaseHeld {
		x.answer(status, "", nil, true)
		rest = x.answered(reason)
	}
	x.mu.Unlock()
	rest()
}

// releaseBody wakes a Receive that reads still, though the request has ended, and waits
// for it.
func (x *exchange) releaseBody() {
	if x.reading.Load() {
		x.stream.WakeRead()
	}
	x.rmu.Lock()
	defer x.rmu.Unlock()
	if x.pending != nil {
		<-x.pending
		x.pending = nil
	}
}
