package engine

import (
	"context"
	"net/http"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// WebSocketConn is an open WebSocket (RFC 6455) as a WebSocketSession needs it: whole
// messages, and control frames by their meaning. Package server/ws has the one that
// speaks over sockets, pagitest one in memory.
type WebSocketConn interface {
	// Receive returns the next message; one goroutine calls it. The error that ends
	// it is a *WebSocketEnd.
	Receive() (pagi.WebSocketReceive, error)
	// Send takes a message over, and first waits while the client is behind. An error
	// is ctx's, or that of a connection that has ended. Any goroutine may call it.
	Send(ctx context.Context, m pagi.WebSocketSend) error
	// Ping sends a ping. It does not wait.
	Ping()
	// SendClose sends a Close frame behind everything that was taken over; nothing is
	// sent after it. Code 1005 stands for a frame without a code. It does not wait.
	SendClose(code int, reason string)
	// Close ends the connection in order: messages that were taken over leave first. It waits,
	// for a short time, and is called by the goroutine that called Receive.
	Close()
	// Drop ends it at once.
	Drop()
	// Sent returns how many bytes of frames the network has taken.
	Sent() int64
}

// WebSocketEnd says how a WebSocket ended.
type WebSocketEnd struct {
	// Code and Reason are what the application is told: the peer's own where it sent
	// a Close frame (1005 where that had no code), else the code that was sent to it,
	// or 1006, with a standard reason.
	Code   int
	Reason string
	// Answer is the code of the Close frame with which the end is to be answered; 0:
	// the peer is gone, and nothing is answered.
	Answer int
	// Text is what that frame says.
	Text string
	// Option is the option of the command line whose limit ended it; "": none.
	Option string
	// Peer says that the peer closed the connection in order.
	Peer bool
}

func (e *WebSocketEnd) Error() string {
	if e.Text != "" {
		return "websocket: " + e.Reason + ": " + e.Text
	}
	return "websocket: " + e.Reason
}

// WebSocketHooks are what a WebSocketConn tells its session by.
type WebSocketHooks struct {
	// Flow counts the bytes that are taken over and not yet written.
	Flow *FlowMeter
	// Pong is called when a pong has come, by the goroutine that calls Receive.
	Pong func()
}

// WebSocketUpgrader completes a handshake that Handler has found to be right. The
// response's head goes out with the first byte, 101 on HTTP/1.1, 200 on HTTP/2 (RFC 8441).
// After an error the connection may still be answered with an ordinary response,
// unless it was taken from w.
type WebSocketUpgrader interface {
	Upgrade(stream Stream, r *http.Request, scope *pagi.Scope, accept pagi.WebSocketAccept, hooks WebSocketHooks) (WebSocketConn, error)
}

// WebSocketHandshake is a client's handshake, still to be answered: by Accept, or by
// the events of an ordinary response.
type WebSocketHandshake interface {
	// Accept completes it.
	Accept(e pagi.WebSocketAccept, hooks WebSocketHooks) (WebSocketConn, error)
	// Respond sends an event of a response that refuses it: HTTPResponseStart,
	// HTTPResponseBody.
	Respond(ctx context.Context, ev pagi.Event) error
	// Gone returns a channel that is closed when the client has left before it was
	// answered.
	Gone() <-chan struct{}
	// GoneReason returns why, as a standard reason.
	GoneReason() string
}

const (
	// DefaultMaxReceiveQueue is the default of WebSocketSession.MaxQueue, the
	// reference server's.
	DefaultMaxReceiveQueue = 1000
	// readAhead is how many bytes of messages wait for the application before no more
	// is read from the client.
	readAhead = 1 << 20
	// settleTime is how long an application may take to answer the messages before a
	// Close frame.
	settleTime = 500 * time.Millisecond
	// closeTime is how long a client may take to answer a Close frame.
	closeTime = 5 * time.Second
)

// Close codes (RFC 6455 section 7.4.1) the session uses itself.
const (
	closeNormal         = 1000
	closeNoStatus       = 1005
	closeAbnormal       = 1006
	closePolicy         = 1008
	closeInternalError  = 1011
	closeServiceRestart = 1012
)
