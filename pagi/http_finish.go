package pagi

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// lingerTime is how long a client that was turned down in the middle of its
// request body may go on sending before the connection is closed.
const lingerTime = 2 * time.Second

// finish settles the exchange after the application has returned and reports
// whether the connection must be cut.
func (x *exchange) finish(err error) (cut bool) {
	x.mu.Lock()
	x.closed = true
	if x.sse != nil {
		x.sse.stop()
	}
	if lost := x.finishQueue(); lost != nil {
		x.mu.Unlock()
		x.disconnect(x.goneReason(lost.reason))
		x.mu.Lock()
	}
	cut, reason := x.conclude(err)
	complete := x.phase == phaseComplete
	x.mu.Unlock()
	switch {
	case reason != "":
		x.disconnect(reason)
	case complete:
		x.complete()
	}
	x.awaitEnd()
	x.endContext(context.Canceled)
	x.leave(cut)
	x.recycle()
	return cut && !x.hijack
}

// finishQueue waits until what the application sent is written, if there is anybody
// to get it. mu is held.
func (x *exchange) finishQueue() *connectionLost {
	q := x.queue.Load()
	if q == nil {
		return nil
	}
	var lost *connectionLost
	if !x.disconnected() {
		if lost = asLost(q.wait()); lost == nil {
			return nil
		}
	}
	x.sent -= int64(q.giveUp())
	return lost
}

// conclude decides, with mu held, what becomes of the response: it is complete;
// it has not begun and an error response takes its place; it is unfinished and
// the connection is cut so that the client can tell. A reason is returned where
// the request has not ended yet.
func (x *exchange) conclude(err error) (cut bool, reason string) {
	gone := x.disconnected()
	aborted := errors.Is(err, http.ErrAbortHandler)
	switch {
	case x.phase == phaseComplete:
		if err != nil && !aborted && !gone {
			x.logFailure("application failed after its response was complete", err)
		}
		return false, ""
	case gone:
		if x.disconnectReason() == ReasonServerError {
			x.logFailure("response was given up", err)
		}
		x.abandon()
		return true, ""
	case aborted:
		x.abandon()
		return true, ReasonServerError
	case err == nil && x.sse != nil && x.sse.state == streamOpen:
		if lost := asLost(x.sse.close()); lost != nil {
			return true, x.goneReason(lost.reason)
		}
		return false, ""
	case x.phase <= phaseHeld:
		x.backstop(err)
		return false, ReasonServerError
	}
	if err == nil {
		err = errors.New("it returned before the response was complete")
	}
	x.logFailure("application failed after its response had begun", err)
	x.abandon()
	return true, ReasonServerError
}

// backstop answers for an application that did not.
func (x *exchange) backstop(err error) {
	var asked *StatusError
	if errors.As(err, &asked) && asked.Status >= 200 && asked.Status <= 999 && ValidateHeaders("", asked.Headers) == nil {
		if asked.Status >= http.StatusInternalServerError {
			x.logFailure("application failed", err)
		}
		x.answer(asked.Status, asked.Message, asked.Headers, false)
		return
	}
	if err == nil {
		err = errors.New("it returned without a response")
	}
	x.logFailure("application failed", err)
	x.answer(http.StatusInternalServerError, "", nil, true)
}

// answer writes a short text/plain response of the server's own. An empty message
// stands for the status text.
func (x *exchange) answer(status int, message string, headers Headers, closing bool) {
	x.resetHeader()
	if message == "" {
		message = http.StatusText(status)
	}
	// Valid headers cannot fail here but for a content-length, which is dropped.
	headers = headers.Clone()
	headers.Del("content-length")
	if !headers.Has("content-type") {
		headers.Add("content-type", "text/plain; charset=utf-8")
	}
	if closing {
		headers.Set("connection", "close")
	}
	body := message + "\n"
	headers.Add("content-length", strconv.Itoa(len(body)))
	if err := x.setHeader("", headers); err != nil {
		x.h.logger().Error("server response", "status", status, "error", err)
	}
	x.status = int32(status)
	x.noBody = x.r.Method == http.MethodHead || status == http.StatusNoContent || status == http.StatusNotModified
	x.conn.started.Store(true)
	x.openResponse(true)
	if closing && !x.bodyDone.Load() {
		// Some of what the client still sends is read below us, lest a reset destroy
		// the response on its way. (A ResponseStream may set a limit of its own.)
		_ = x.rc.SetReadDeadline(time.Now().Add(lingerTime))
	}
	x.phase = phaseComplete
	// Whether the client still hears it changes nothing any more.
	if err := x.write([]byte(body)); err == nil {
		_ = x.endBody()
	}
	x.letRead()
}

// logFailure logs an application's failure with the request it happened in.
func (x *exchange) logFailure(msg string, err error) {
	args := []any{"method", x.r.Method, "path", x.r.URL.Path, "client", x.r.RemoteAddr}
	if err != nil {
		args = append(args, "error", err)
	}
	var p *PanicError
	if errors.As(err, &p) {
		args = append(args, "stack", string(p.Stack))
	}
	x.h.logger().Error(msg, args...)
}

// abandon makes sure that the client can tell an unfinished response from a
// finished one where only the connection's end ends it: it resets the connection.
func (x *exchange) abandon() {
	if x.phase <= phaseHeld || x.length >= 0 || x.r.ProtoAtLeast(1, 1) {
		return
	}
	if conn := x.takeOver(); conn != nil {
		if tcp, ok := conn.(interface{ SetLinger(int) error }); ok {
			_ = tcp.SetLinger(0) // without it the close is an orderly one, no worse than before
		}
		conn.Close()
	}
}

// takeOver takes the connection out of its server's hands; nil where it cannot.
func (x *exchange) takeOver() net.Conn {
	if x.hijack || x.r.ProtoMajor != 1 {
		return nil
	}
	conn, _, err := x.rc.Hijack()
	if err != nil {
		return nil
	}
	x.hijack = true
	return conn
}

// closeAfterReply makes net/http close the connection after a response whose head
// is out already, with some of the request body unread that net/http was told to leave
// alone; a ResponseStream sees to that itself. http.MaxBytesReader has that effect when
// it finds its limit exceeded, and there is no other way to ask for it.
func closeAfterReply(w http.ResponseWriter) {
	var b [1]byte
	_, _ = http.MaxBytesReader(w, io.NopCloser(strings.NewReader("..")), 0).Read(b[:])
}
