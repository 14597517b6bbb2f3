package engine

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// lingerTime is how long a client that was turned down in the middle of its
// request body may go on sending before the connection is closed.
const lingerTime = 2 * time.Second

// finish settles the exchange after the application has returned and reports
// whether the connection must be cut.
func (x *exchange) finish(err error) (cut bool) {
	x.mu.Lock()
	x.closed = true
	if s := x.sse.Load(); s != nil {
		s.stop()
	}
	if lost := x.finishQueue(); lost != nil {
		x.mu.Unlock()
		x.end.disconnect(x.goneReason(lost.reason))
		x.mu.Lock()
	}
	cut, reason := x.conclude(err)
	complete := x.phase == phaseComplete
	x.mu.Unlock()
	switch {
	case reason != "":
		x.end.disconnect(reason)
	case complete:
		x.end.complete(x.stream)
	}
	x.end.awaitOver()
	x.end.endContext(context.Canceled)
	x.releaseBody()
	return cut
}

// finishQueue waits until everything that the application sent is written, unless the client is
// lost. mu is held.
func (x *exchange) finishQueue() *connectionLost {
	q := x.queue.Load()
	if q == nil {
		return nil
	}
	var lost *connectionLost
	if !x.end.isLost() {
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
	gone := x.end.isLost()
	aborted := errors.Is(err, http.ErrAbortHandler)
	switch {
	case x.phase == phaseComplete:
		if err != nil && !aborted && !gone {
			x.logFailure("application failed after its response was complete", err)
		}
		return false, ""
	case gone:
		if x.end.reason() == pagi.ReasonServerError {
			x.logFailure("response was given up", err)
		}
		return true, ""
	case aborted:
		return true, pagi.ReasonServerError
	case err == nil && x.isOpenStream():
		if lost := asLost(x.sse.Load().close()); lost != nil {
			return true, x.goneReason(lost.reason)
		}
		return false, ""
	case x.phase <= phaseHeld:
		x.backstop(err)
		return false, pagi.ReasonServerError
	}
	if err == nil {
		err = errors.New("it returned before the response was complete")
	}
	x.logFailure("application failed after its response had begun", err)
	return true, pagi.ReasonServerError
}

// backstop answers for an application that did not.
func (x *exchange) backstop(err error) {
	var asked *pagi.StatusError
	if noDescriptors(err) {
		x.logFailure("no descriptor is left", err)
		x.answer(http.StatusServiceUnavailable, "", pagi.Headers{{Name: "retry-after", Value: "1"}}, false)
		return
	}
	if errors.As(err, &asked) && asked.Status >= 200 && asked.Status <= 999 && asked.Headers.Validate("") == nil {
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

// noDescriptors reports whether a request has failed because this process or the system
// can open nothing more. That passes, and is no fault of the request's.
func noDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// answer writes a short text/plain response of the server's own. An empty message
// stands for the status text.
func (x *exchange) answer(status int, message string, headers pagi.Headers, closing bool) {
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
	x.end.control.Start()
	x.openResponse(true)
	if closing && !x.bodyDone.Load() {
		// The stream reads some of the rest of the body: closing the connection with
		// something unread would reset it, and the client would lose the response. The stream may set a limit of its own.
		_ = x.stream.SetReadDeadline(time.Now().Add(lingerTime))
	}
	x.phase = phaseComplete
	// Whether the client still hears it changes nothing any more.
	if err := x.write([]byte(body)); err == nil {
		_ = x.endBody()
	}
}

// client returns the client's address for the log: behind a trusted proxy that of the client, and
// otherwise that of the peer.
func (x *exchange) client() string {
	switch client, ok := x.notes.Client(); {
	case !ok:
		return x.r.RemoteAddr
	case client.Port == 0:
		return client.Host
	default:
		return net.JoinHostPort(client.Host, strconv.Itoa(client.Port))
	}
}

// logFailure logs an application's failure with the request it happened in.
func (x *exchange) logFailure(msg string, err error) {
	args := x.notes.Append([]any{"method", x.r.Method, "host", x.r.Host, "path", x.r.URL.Path, "client", x.client()})
	if err != nil {
		args = append(args, "error", err)
	}
	var p *pagi.PanicError
	if errors.As(err, &p) {
		args = append(args, "stack", string(p.Stack))
	}
	x.h.logger().Error(msg, args...)
}
