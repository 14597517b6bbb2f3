package engine

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// WebSocketSession is one websocket scope: it calls the application and keeps the
// rules of the specification (PAGI::Spec::Www, "WebSocket") between it and a client
// whose handshake is to be answered. Handler runs one per handshake, pagitest one
// without a socket. App, Scope and Handshake must be set.
type WebSocketSession struct {
	App       pagi.App
	Scope     *pagi.Scope
	Handshake WebSocketHandshake
	// MaxQueue is how many messages may wait for the application; one more closes the
	// connection with 1008 and reason queue_overflow. 0: 1000; less: no limit.
	MaxQueue int
	// EndContext is called once when the connection has ended, with why; it ends the
	// context that Serve was given. Nil: not called.
	EndContext func(cause error)

	mu       sync.Mutex // guards what follows
	phase    wsPhase
	accepted chan struct{} // closed when wsAccepting is over
	conn     WebSocketConn
	asked    bool // the application has been given websocket.connect
	returned bool // it has returned
	queue    []pagi.WebSocketReceive
	head     int           // where in queue the next message is
	queued   int           // bytes in it
	paused   bool          // the reader waits for room
	gone     bool          // the client has left: the reader must not wait any more
	taken    bool          // the application has taken a message
	waiting  bool          // it waits in Receive
	settling bool          // the reader waits for that
	end      *WebSocketEnd // nil: not yet
	wake     chan struct{} // something for Receive has happened
	room     chan struct{} // the application has taken a message, or it has ended
	read     chan struct{} // closed when the reader has ended
	receives sync.Mutex    // held by the running Receive
	closer   *time.Timer
	closed   *Closing // the Close frame that the application's end of it began with
	beat     keepalive
}

// wsPhase is how far a session has come; it only moves forward, but for an answer that
// could not be given.
//
//	connecting ── accept ──> accepting ──> open ── close ──> closing
//	    └── close, websocket.http.response.start ──> refused
//
// Besides, a session can have ended, whatever its phase.
type wsPhase uint8

const (
	wsConnecting wsPhase = iota // the application has not answered
	wsRefused                   // it has sent a response instead
	wsClosed403                 // it has closed instead
	wsAccepting                 // the handshake is being completed
	wsOpen
	wsClosing // a Close frame was sent
)

// errRefused is what Receive returns after a denial response: no event follows it.
var errRefused = errors.New("the handshake was answered with a response, there is nothing to receive")

// WebSocketOutcome tells how a session went.
type WebSocketOutcome struct {
	// Accepted says that the handshake was completed. Else Handshake may still have
	// to be answered, for an application that did not.
	Accepted bool
	// End is how the WebSocket ended; nil where it was never accepted.
	End *WebSocketEnd
	// Sent is how many bytes of frames the network has taken.
	Sent int64
	// Err is what the application returned, or the *PanicError it ended with.
	Err error
}

// Serve calls the application with ctx and returns when it has returned and the
// connection has ended. A WebSocket that is still open then is closed, with 1000, or with
// 1011 (1012 for a *StatusError of 503) where the application failed.
func (s *WebSocketSession) Serve(ctx context.Context) WebSocketOutcome {
	s.wake, s.room = make(chan struct{}, 1), make(chan struct{}, 1)
	flow, _ := s.Scope.Transport.(*FlowMeter)
	if flow == nil {
		flow = NewFlowMeter(0, 0)
		s.Scope.Transport = flow
	}
	err := serveGuarded(ctx, s.App, s.Scope, s.receive, func(ctx context.Context, ev pagi.Event) error {
		return s.send(ctx, ev, flow)
	})
	s.mu.Lock()
	s.returned = true
	s.awaitAccepted(context.Background())
	conn, phase, ended := s.conn, s.phase, s.end != nil
	s.queue, s.head = nil, 0
	s.mu.Unlock()
	s.beat.stop()
	if conn == nil {
		return WebSocketOutcome{Err: err}
	}
	if phase == wsOpen && !ended {
		s.close(conn, codeFor(err), "")
	}
	signal(s.room)
	<-s.read
	s.stopClosing()
	return WebSocketOutcome{Accepted: true, End: s.end, Sent: conn.Sent(), Err: err}
}

// codeFor returns the close code for what an application returned.
func codeFor(err error) int {
	var status *pagi.StatusError
	switch {
	case err == nil:
		return closeNormal
	case errors.As(err, &status) && status.Status == http.StatusServiceUnavailable:
		return closeServiceRestart
	}
	return closeInternalError
}

// close begins the closing handshake; the reader ends with the client's answer.
func (s *WebSocketSession) close(conn WebSocketConn, code int, reason string) {
	s.mu.Lock()
	if s.phase != wsOpen || s.end != nil {
		s.mu.Unlock()
		return
	}
	s.phase = wsClosing
	s.closed = &Closing{code, reason}
	s.closer = time.AfterFunc(closeTime, func() {
		s.finish(&WebSocketEnd{Code: closeAbnormal, Reason: pagi.ReasonClientTimeout})
		conn.Drop()
	})
	s.mu.Unlock()
	s.beat.stop()
	conn.SendClose(code, reason)
	signal(s.room)
}

func (s *WebSocketSession) stopClosing() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closer != nil {
		s.closer.Stop()
	}
}

// closing returns the Close frame that began the end, of a session that is over; nil:
// there was none.
func (s *WebSocketSession) closing() *Closing {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch end := s.end; {
	case s.closed != nil:
		return s.closed
	case end == nil:
	case end.Peer:
		return &Closing{end.Code, end.Reason}
	case end.Answer != 0:
		return &Closing{end.Answer, end.Text}
	}
	return nil
}

// finish notes how the connection ended; the first to say so counts. The event is
// there for Receive before the context ends.
func (s *WebSocketSession) finish(end *WebSocketEnd) {
	s.mu.Lock()
	if s.end != nil {
		s.mu.Unlock()
		return
	}
	s.end = end
	s.mu.Unlock()
	s.beat.stop()
	signal(s.wake)
	signal(s.room)
	if s.EndContext != nil {
		reason := end.Reason
		if end.Peer {
			reason = pagi.ReasonClientClosed
		}
		s.EndContext(&pagi.DisconnectError{Reason: reason})
	}
}

// lost is called when the client has left. It reports whether the handshake was
// completed; then the reader finds out why, and must not wait for an application that
// leaves its messages in the queue.
func (s *WebSocketSession) lost() (accepted bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn == nil {
		return false
	}
	s.gone = true
	signal(s.room)
	return true
}

// Cut ends the session at once, for reason, as if the client had left.
func (s *WebSocketSession) Cut(reason string) {
	s.finish(&WebSocketEnd{Code: closeAbnormal, Reason: reason})
	s.mu.Lock()
	conn := s.conn
	s.mu.Unlock()
	if conn != nil {
		conn.Drop()
	}
}

// signal wakes the goroutine that waits on ch, or keeps the next one from waiting.
func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
