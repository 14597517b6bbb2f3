package pagi

// The standard disconnect reasons (PAGI::Spec::Www, "Standard Disconnect
// Reasons"). A server may add its own, prefixed with "x-".
const (
	ReasonClientClosed     = "client_closed"
	ReasonClientTimeout    = "client_timeout"
	ReasonIdleTimeout      = "idle_timeout"
	ReasonKeepaliveTimeout = "keepalive_timeout"
	ReasonWriteTimeout     = "write_timeout"
	ReasonWriteError       = "write_error"
	ReasonReadError        = "read_error"
	ReasonProtocolError    = "protocol_error"
	ReasonServerShutdown   = "server_shutdown"
	ReasonServerError      = "server_error"
	ReasonBodyTooLarge     = "body_too_large"
	ReasonQueueOverflow    = "queue_overflow"
)

// Connection is the "pagi.connection" object of an http scope: it tells, without
// consuming events, whether the client is still there and how far the response
// has come. It belongs to one request; requests that share a TCP connection have
// one each. All methods are safe for concurrent use.
//
// A request ends in exactly one of two ways: it completes, or it is disconnected for a reason.
// Callbacks run one after another, in registration order, on the goroutine that noticed the end.
// The server logs a callback that panics, and runs the next one. Callbacks may send, which does
// nothing after a disconnect. Receive returns the disconnect event once all callbacks have
// returned; only a callback that calls Receive itself gets it at once. A callback must not wait for
// a goroutine that waits for that event.
type Connection interface {
	// IsConnected reports whether the request is still running. Once false it stays false.
	IsConnected() bool
	// DisconnectReason returns why the request ended abnormally; "" while it runs and after it
	// completed.
	DisconnectReason() string
	// ResponseStarted reports whether a response was started, by the application or by
	// the server.
	ResponseStarted() bool
	// ResponseComplete reports whether the server has passed on the response's last byte.
	ResponseComplete() bool
	// Disconnected returns a channel that is closed when the request ends abnormally
	// and only then: the specification's disconnect_future.
	Disconnected() <-chan struct{}
	// OnDisconnect registers a callback for an abnormal end. If the request has already ended so, f
	// runs at once; after completion it never runs.
	OnDisconnect(f func(reason string))
	// OnComplete registers a callback for the successful end. If the request has already completed,
	// f runs at once; after a disconnect it never runs.
	OnComplete(f func())
}
