// Package ws speaks WebSocket (RFC 6455) for the websocket scopes of engine.Handler, over HTTP/1.1
// connections and HTTP/2 streams (RFC 8441), with permessage-deflate (RFC 7692). Package pagi knows
// the meaning of messages and the close codes that an application sees. This package knows bytes.
//
// Files: ws.go the server and its set of connections, handshake.go how a connection becomes a
// WebSocket, conn.go how it ends, frame.go, read.go and utf8.go reading, write.go writing,
// extension.go, inflate.go and deflate.go compression, stream.go HTTP/2.
package ws

import (
	"fmt"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/pagi-go/pagi-bridge/internal/h2connect"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// net/http, which this package imports, has been initialised when this runs.
func init() { h2connect.Restore() }

// Defaults of the Server's fields. That of MaxFrameSize is the reference server's.
const (
	DefaultMaxFrameSize   = 64 << 10
	DefaultMaxMessageSize = 1 << 20
)

// Server is an engine.WebSocketUpgrader: it turns handshakes into WebSockets. Its zero value is
// ready. The fields must not change once it is used. A negative value turns off a limit that has a
// default.
type Server struct {
	// MaxFrameSize is the largest payload of a frame in bytes; more closes the
	// connection with 1009. Default: 64 KiB.
	MaxFrameSize int
	// MaxMessageSize is the largest message in bytes, uncompressed, over all its
	// frames; more closes the connection with 1009. Default: 1 MiB.
	MaxMessageSize int
	// IdleTimeout is how long no byte may come or go before the connection is closed with 1001 and
	// reason idle_timeout. A frame that comes byte by byte is not idle. The time does not run while
	// the application is so far behind that the server reads nothing. 0 or less: no limit.
	IdleTimeout time.Duration
	// WriteTimeout is how long a write may go on without progress before the
	// connection is given up with reason write_timeout. 0 or less: no limit.
	WriteTimeout time.Duration
	// NoCompression declines permessage-deflate.
	NoCompression bool

	// Replaced tells which connections stay after Relieve. Nil: none.
	Replaced *engine.Replacement

	mu    sync.Mutex
	conns map[*conn]struct{}
	stage stage
}

// stage is what happens to connections, those to come included.
//
//	open --Relieve--> relieved --Drain--> draining
//	   └───────────────Drain─────────────────┘
type stage uint8

const (
	open     stage = iota
	relieved       // those that a later application serves, too, stay
	draining       // all are closed
)

// Relieve says that another application has taken over: it closes connections as Drain does, but for those that
// Replaced lets stay.
func (s *Server) Relieve() { s.enter(relieved) }

// Drain closes all connections with 1001 and reason server_shutdown, also those that are made after
// it.
func (s *Server) Drain() { s.enter(draining) }

func (s *Server) enter(next stage) {
	s.mu.Lock()
	if s.stage >= next {
		s.mu.Unlock()
		return
	}
	s.stage = next
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
	for _, c := range conns {
		c.follow(next)
	}
}

func (s *Server) add(c *conn) {
	s.mu.Lock()
	if s.conns == nil {
		s.conns = map[*conn]struct{}{}
	}
	s.conns[c] = struct{}{}
	now := s.stage
	s.mu.Unlock()
	c.follow(now)
}

func (s *Server) remove(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	c.leave()
}

// maxFrame and maxMessage return the limits in force.
func (s *Server) maxFrame() int64   { return limit(s.MaxFrameSize, DefaultMaxFrameSize) }
func (s *Server) maxMessage() int64 { return limit(s.MaxMessageSize, DefaultMaxMessageSize) }

func limit(given, otherwise int) int64 {
	switch {
	case given == 0:
		return int64(otherwise)
	case given < 0:
		return 1<<63 - 1
	}
	return int64(given)
}

// Close codes (RFC 6455 section 7.4.1).
const (
	codeGoingAway = websocket.CloseGoingAway
	codeProtocol  = websocket.CloseProtocolError
	codeNoStatus  = websocket.CloseNoStatusReceived
	codeAbnormal  = websocket.CloseAbnormalClosure
	codeInvalid   = websocket.CloseInvalidFramePayloadData
	codePolicy    = websocket.ClosePolicyViolation
	codeTooBig    = websocket.CloseMessageTooBig
)

// tooLarge is the end of a connection whose client sends more than an option allows.
func tooLarge(what, option string) error {
	return &engine.WebSocketEnd{
		Code: codeTooBig, Reason: pagi.ReasonProtocolError, Answer: codeTooBig, Text: "the " + what + " is too large", Option: option,
	}
}

// The names of options in the log.
const (
	optionMaxFrame   = "--max-ws-frame-size"
	optionMaxMessage = "--max-ws-message-size"
	optionIdle       = "--ws-idle-timeout"
)

// violation is the end of a connection on which the client breaks the protocol.
func violation(code int, format string, args ...any) error {
	return &engine.WebSocketEnd{Code: code, Reason: pagi.ReasonProtocolError, Answer: code, Text: fmt.Sprintf(format, args...)}
}
