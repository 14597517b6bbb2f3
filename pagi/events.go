package pagi

import (
	"io"
	"time"
)

// Event is one message between server and application. Its EventType is its name in the
// specification, "http.request" for example. The concrete types in this file are the whole
// vocabulary; events travel as values, not as pointers, so that a type switch reads like the
// specification's tables.
type Event interface {
	EventType() string
}

// Events of the http protocol, from the client.
type (
	// HTTPRequest is a piece of the request body, de-chunked. A request without
	// a body yields one with an empty Body and More unset.
	//
	// Body is valid until the next call of Receive or until the application returns. An application
	// that keeps it longer may find other bytes in it, but never those of another request.
	//
	// Trailers is this implementation's own extension: the fields after a chunked body, or after
	// one of HTTP/2 (RFC 9110 section 6.5), with names in lower case. Only the last piece has them.
	// The server leaves out fields that must not be in a trailer section: those for framing,
	// routing, content, authentication or control. Over HTTP/2 it passes only fields that the
	// request's Trailer header announces, over HTTP/3 none.
	HTTPRequest struct {
		Body     []byte
		More     bool
		Trailers Headers
	}
	// HTTPDisconnect says that the client has gone, or that the response was
	// sent completely.
	HTTPDisconnect struct{}
)

// Events of the http protocol, to the client.
type (
	// HTTPResponseInformational is an interim response (RFC 9110 section 15.2), allowed before
	// HTTPResponseStart any number of times if the scope has ExtInformational. Status is 102, 103
	// or another 1xx but 100 and 101.
	HTTPResponseInformational struct {
		Status  int
		Headers Headers
	}
	// HTTPResponseStart begins the response. Status is 200 to 999. With Trailers set, the
	// body is followed by an HTTPResponseTrailers event.
	HTTPResponseStart struct {
		Status   int
		Headers  Headers
		Trailers bool
	}
	// HTTPResponseBody is a piece of the response body. At most one of Body, File and FH may be
	// set; a piece without any is empty.
	//
	// File is the absolute path of a file that the server opens, streams and closes. FH is an open
	// handle that the caller must close; the server sends an *os.File by sendfile if the system
	// can. Both begin at Offset; an FH that is no io.Seeker cannot have one. They end after Length
	// bytes, or at the end of the data if that comes first or Length is ToEnd. With a Length of 0
	// nothing is sent. Both complete the body, and More is ignored.
	HTTPResponseBody struct {
		Body   []byte
		More   bool
		File   string
		FH     io.Reader
		Offset int64
		Length int64
	}
	// HTTPResponseTrailers ends a response that was started with Trailers.
	HTTPResponseTrailers struct {
		Headers Headers
	}
	// HTTPFullFlush makes the server write out all buffered data. It is allowed if the scope has
	// ExtFullFlush.
	HTTPFullFlush struct{}
)

// ToEnd is the Length of an HTTPResponseBody that sends its File or FH to the end.
const ToEnd int64 = -1

// Events of the websocket protocol, from the client.
type (
	// WebSocketConnect is the first event of a websocket scope; the application
	// answers it with WebSocketAccept, WebSocketClose or a denial response.
	WebSocketConnect struct{}
	// WebSocketReceive is one whole message. Binary says which kind it is: a
	// text message stands in Text as UTF-8, a binary one in Bytes.
	WebSocketReceive struct {
		Text   string
		Bytes  []byte
		Binary bool
	}
	// WebSocketDisconnect ends the scope. Code is the RFC 6455 close code (1005: the peer gave
	// none; 1006: the connection dropped); Reason is the peer's text, or a standard token if the
	// server noticed the end itself.
	WebSocketDisconnect struct {
		Code   int
		Reason string
	}
)

// Events of the websocket protocol, to the client.
type (
	// WebSocketAccept completes the handshake.
	WebSocketAccept struct {
		Subprotocol string
		Headers     Headers
	}
	// WebSocketSend sends one message: Bytes when Binary is set, else Text, which
	// must be UTF-8.
	WebSocketSend struct {
		Text   string
		Bytes  []byte
		Binary bool
	}
	// WebSocketKeepalive makes the server ping every Interval. If Timeout is not 0, the server
	// drops the connection after that time without a pong. Interval 0 stops the pings. The latest
	// event applies.
	WebSocketKeepalive struct {
		Interval, Timeout time.Duration
	}
	// WebSocketClose closes the connection; before WebSocketAccept it refuses the
	// handshake with 403. Code 0 means 1000. Reason is at most 123 bytes.
	WebSocketClose struct {
		Code   int
		Reason string
	}
	// WebSocketHTTPResponseStart refuses the handshake with a response of the application's own. It
	// is allowed if the scope has ExtDenialResponse.
	WebSocketHTTPResponseStart struct {
		Status  int
		Headers Headers
	}
	// WebSocketHTTPResponseBody is a piece of that response's body.
	WebSocketHTTPResponseBody struct {
		Body []byte
		More bool
	}
)

// Events of the sse protocol, from the client.
type (
	// SSERequest is a piece of the request body, as HTTPRequest is.
	SSERequest struct {
		Body     []byte
		More     bool
		Trailers Headers
	}
	// SSEDisconnect says why the stream ended, as a standard reason.
	SSEDisconnect struct {
		Reason string
	}
)

// Events of the sse protocol, to the client.
type (
	// SSEStart begins the stream. Status 0 means 200. The server adds content-type, cache-control
	// and date if they are missing.
	SSEStart struct {
		Status  int
		Headers Headers
	}
	// SSESend dispatches one event. Data may hold newlines, Event and ID must not. HasRetry
	// distinguishes a Retry of 0 from none; Retry is sent in milliseconds.
	SSESend struct {
		Event, Data, ID string
		Retry           time.Duration
		HasRetry        bool
	}
	// SSEComment sends a comment, each of its lines as a comment line. The server puts a colon in
	// front of a line without one.
	SSEComment struct {
		Comment string
	}
	// SSEKeepalive makes the server send Comment every Interval; 0 stops it.
	SSEKeepalive struct {
		Interval time.Duration
		Comment  string
	}
	// SSEClose ends the stream at once. Reason goes to the log, not to the client.
	SSEClose struct {
		Reason string
	}
	// SSEHTTPResponseStart declines the stream with an ordinary response.
	SSEHTTPResponseStart struct {
		Status  int
		Headers Headers
	}
	// SSEHTTPResponseBody is a piece of that response's body.
	SSEHTTPResponseBody struct {
		Body []byte
		More bool
	}
)

// Events of the lifespan protocol.
type (
	// LifespanStartup asks the application to get ready, before any request.
	LifespanStartup struct{}
	// LifespanShutdown asks it to clean up, after the last request.
	LifespanShutdown struct{}
	// LifespanStartupComplete answers LifespanStartup: the application is ready.
	LifespanStartupComplete struct{}
	// LifespanStartupFailed answers LifespanStartup: the server must not start.
	LifespanStartupFailed struct{ Message string }
	// LifespanShutdownComplete answers LifespanShutdown.
	LifespanShutdownComplete struct{}
	// LifespanShutdownFailed answers LifespanShutdown: the clean-up has failed.
	LifespanShutdownFailed struct{ Message string }
)

func (HTTPRequest) EventType() string               { return "http.request" }
func (HTTPDisconnect) EventType() string            { return "http.disconnect" }
func (HTTPResponseInformational) EventType() string { return "http.response.informational" }
func (HTTPResponseStart) EventType() string         { return "http.response.start" }
func (HTTPResponseBody) EventType() string          { return "http.response.body" }
func (HTTPResponseTrailers) EventType() string      { return "http.response.trailers" }
func (HTTPFullFlush) EventType() string             { return "http.fullflush" }

func (WebSocketConnect) EventType() string           { return "websocket.connect" }
func (WebSocketReceive) EventType() string           { return "websocket.receive" }
func (WebSocketDisconnect) EventType() string        { return "websocket.disconnect" }
func (WebSocketAccept) EventType() string            { return "websocket.accept" }
func (WebSocketSend) EventType() string              { return "websocket.send" }
func (WebSocketKeepalive) EventType() string         { return "websocket.keepalive" }
func (WebSocketClose) EventType() string             { return "websocket.close" }
func (WebSocketHTTPResponseStart) EventType() string { return "websocket.http.response.start" }
func (WebSocketHTTPResponseBody) EventType() string  { return "websocket.http.response.body" }

func (SSERequest) EventType() string           { return "sse.request" }
func (SSEDisconnect) EventType() string        { return "sse.disconnect" }
func (SSEStart) EventType() string             { return "sse.start" }
func (SSESend) EventType() string              { return "sse.send" }
func (SSEComment) EventType() string           { return "sse.comment" }
func (SSEKeepalive) EventType() string         { return "sse.keepalive" }
func (SSEClose) EventType() string             { return "sse.close" }
func (SSEHTTPResponseStart) EventType() string { return "sse.http.response.start" }
func (SSEHTTPResponseBody) EventType() string  { return "sse.http.response.body" }

func (LifespanStartup) EventType() string          { return "lifespan.startup" }
func (LifespanShutdown) EventType() string         { return "lifespan.shutdown" }
func (LifespanStartupComplete) EventType() string  { return "lifespan.startup.complete" }
func (LifespanStartupFailed) EventType() string    { return "lifespan.startup.failed" }
func (LifespanShutdownComplete) EventType() string { return "lifespan.shutdown.complete" }
func (LifespanShutdownFailed) EventType() string   { return "lifespan.shutdown.failed" }
