package pagi

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"time"
)

// ToHTTP returns an http.Handler that runs app once per request with an http or an sse
// scope. It is HTTPHandler with nothing but the application set; use that for
// limits, timeouts and hooks.
//
// Mounted below http.StripPrefix, the prefix becomes the scope's RootPath.
func ToHTTP(app App) http.Handler { return &HTTPHandler{App: app} }

// HTTPHandler translates between net/http and the http and sse scopes of the
// specification (PAGI::Spec::Www, "HTTP" and "Server-Sent Events"), for HTTP/1.0, 1.1
// and 2. A request of whatever method whose Accept header names text/event-stream is
// an sse scope; with WebSocket set a WebSocket handshake is a websocket scope. Only App must
// be set. The fields must not change once requests are served.
//
// A response ends with its last event, whether or not the application returns. Below a
// ResponseWriter that is a ResponseStream headers keep their order. Below any other they
// leave sorted by name, and the handler returns with the end of the response, because
// that is what ends it there: an application that works on has a goroutine of its own,
// which Running counts. A client that goes away while a request body is still unread is
// noticed by the next Receive or Send; below a ResponseStream that reads ahead, as
// package http1's does, at once where the body is short and has not all come.
type HTTPHandler struct {
	// App is called for every request.
	App App
	// State returns what the application kept at its lifespan startup; each scope
	// gets a shallow copy. Nil, or a nil map, leaves Scope.State nil.
	State func() map[string]any
	// MaxBodySize is the largest request body in bytes. A larger one that is
	// announced by content-length gets 413 before the application is called; one
	// found out while reading ends the request with reason body_too_large. 0 or
	// less: no limit.
	MaxBodySize int64
	// MaxHeaderCount is the largest number of request header lines; more get 431. With the
	// trailers more than that get 400. 0 or less: no limit.
	MaxHeaderCount int
	// BodyTimeout is how long the client may take for each piece of the request
	// body. A slower one gets 408, the application http.disconnect with reason
	// client_timeout. 0 or less: no limit of this handler's, and a deadline the
	// http.Server set stands.
	BodyTimeout time.Duration
	// WriteTimeout is how long a write may go on without progress (a file sent by
	// sendfile: without a single byte; other bodies: without the client taking
	// 64 KiB). A stalled one ends the request with reason write_timeout. It does
	// not bound the response as a whole. 0 or less: no limit of this handler's.
	WriteTimeout time.Duration
	// RequestTimeout is how long a request may go without reading from or writing
	// to the client. The client then gets 504 or, when the response had begun, a
	// cut connection; the application's context ends with the reason
	// "x-request-timeout", or client_timeout where it was waiting for the request
	// body. A Send that waits for a handle of the application's has twice the time, and the
	// client of net/http's HTTP/1, or of HTTP/3, is cut when the handle moves. 0 or less:
	// no limit.
	RequestTimeout time.Duration
	// MaxRequestTime is how long a request of an http scope may take as a whole, however
	// much is read and written meanwhile. What then happens is what RequestTimeout
	// says, with the reason "x-request-time". 0 or less: no limit.
	MaxRequestTime time.Duration
	// SSEIdleTimeout is how long an open event stream may go without anything being
	// sent, comments included. It is ended then, with reason idle_timeout. 0 or less:
	// no limit.
	SSEIdleTimeout time.Duration
	// HighWaterMark and LowWaterMark are those of Scope.Transport, in bytes; 0 or
	// less: DefaultHighWaterMark, DefaultLowWaterMark. A low mark above the high one
	// is lowered to it.
	HighWaterMark, LowWaterMark int
	// TLSInfo returns what the tls extension tells of the connection a request came
	// by, which several scopes may share. Nil, or a nil result: TLSOf the request's
	// connection.
	TLSInfo func(*http.Request) *TLS
	// Stopping is closed when the application is about to be shut down or replaced:
	// what would go on without end (websocket and sse scopes) is then ended. Nil: never.
	Stopping <-chan struct{}
	// Base is what the contexts of all requests derive from. An application that works
	// on after its response, when its request may be over, is cut by the end of Base,
	// whose cause is to be a *DisconnectError. Nil: it is never cut.
	Base context.Context
	// WebSocket completes WebSocket handshakes, which then become websocket scopes. Nil:
	// they are requests as any other, as they are to a server that does not know the
	// protocol (RFC 9110 section 7.8).
	WebSocket WebSocketUpgrader
	// MaxReceiveQueue is how many messages of a WebSocket may wait for the application;
	// one more closes the connection with 1008 and reason queue_overflow. 0: 1000; less
	// than 0: no limit.
	MaxReceiveQueue int
	// Logger receives failures of the application and, without Warn, requests turned down
	// for a limit. Nil: slog.Default().
	Logger *slog.Logger
	// Warn is called in the place of Logger.Warn where a limit turns a request down or ends
	// a WebSocket, which clients can cause as often as they like. msg is one of few. Nil:
	// Logger's.
	Warn func(msg string, args ...any)
	// Done is called once per request, on the goroutine that ran the application, when
	// that has returned. The handler may have returned before. Nil: not called.
	Done func(*HTTPRecord)

	apart int32 // applications that run on a goroutine of their own; atomic
}

// HTTPRecord tells how a request ended. It and what it points to are valid until
// Done returns.
type HTTPRecord struct {
	// Request is what was received. Its Header may be nil; see the method Header.
	Request *http.Request
	// Status is the response's; 0 when none was started.
	Status int
	// Bytes is the number of body bytes given to the network, without framing; of a
	// WebSocket that of its frames, control frames and heads of frames included.
	Bytes int64
	// Begin is when the handler was called, Duration how long it took from there.
	Begin    time.Time
	Duration time.Duration
	// Reason is the disconnect reason; "" when the response was completed.
	Reason string
	// Close tells how an event stream or a WebSocket was closed; nil: it was not, or
	// nothing was said of it.
	Close *HTTPClose
	// Err is what the application returned, or the *PanicError it ended with.
	Err error

	x *exchange // nil: the request was turned down before it came to one
}

// HTTPClose is an sse.close, or the Close frame that began the end of a WebSocket,
// whoever sent it.
type HTTPClose struct {
	// Code is the frame's, 1005 for one without; 0 for an event stream.
	Code int
	// Reason is what was given as the reason.
	Reason string
}

// Header returns the value of the request's first header called name, or "".
func (r *HTTPRecord) Header(name string) string {
	if r.x != nil && r.x.stream != nil {
		return r.x.stream.RequestHeaders().Get(name)
	}
	if EqualFold(name, "host") {
		return r.Request.Host
	}
	return r.Request.Header.Get(name)
}

// ResponseHeader returns the value of the first header called name, in lower case, that
// the application has sent, or "".
func (r *HTTPRecord) ResponseHeader(name string) string {
	if r.x == nil {
		return ""
	}
	return r.x.head.Get(name)
}

// The options of the command line that the log names where a limit turned a
// request down.
const (
	optionMaxBodySize    = "--max-body-size"
	optionMaxHeaderCount = "--max-header-count"

	optionMaxReceiveQueue = "--max-receive-queue"
)

// ServeHTTP runs the application for one request.
func (h *HTTPHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := newExchange(h, w, r)
	if h.Done != nil {
		x.begin = time.Now()
	}
	upgrade := x.isHandshake()
	if !x.admit(upgrade) {
		x.report(nil)
		return
	}
	if upgrade {
		x.serveWebSocket()
		return
	}
	x.makeScope()
	if AcceptsEvents(x.scope.Headers) {
		x.newEventStream()
	}
	x.ctx = (*appContext)(x)
	if x.stream == nil {
		x.apart = &apart{over: make(chan struct{})}
	}
	if h.RequestTimeout > 0 || h.MaxRequestTime > 0 {
		defer x.limitTime().end()
	}
	cut := false
	if x.apart != nil {
		cut = x.serveApart()
	} else {
		cut = x.run()
	}
	if cut {
		panic(http.ErrAbortHandler)
	}
}

// run calls the application, settles what it leaves, and reports whether the
// connection must be cut.
func (x *exchange) run() (cut bool) {
	receive := x.receive
	if x.sse != nil {
		receive = x.sse.receive
	}
	err := serveGuarded(x.ctx, x.h.App, &x.scope, receive, x.send)
	x.notice()
	x.unwatch()
	cut = x.finish(err)
	x.report(err)
	return cut
}

// admit turns down what the application must not see and reports whether the
// request may go on. A handshake may be a CONNECT.
func (x *exchange) admit(handshake bool) bool {
	h, r := x.h, x.r
	if h.MaxHeaderCount > 0 {
		n := 1 // host
		if x.stream != nil {
			n = len(x.stream.RequestHeaders())
		}
		for _, values := range r.Header {
			n += len(values)
		}
		if n > h.MaxHeaderCount {
			x.logLimit("request has too many headers", optionMaxHeaderCount, int64(h.MaxHeaderCount))
			x.answer(http.StatusRequestHeaderFieldsTooLarge, "", nil, true)
			return false
		}
	}
	if h.MaxBodySize > 0 && r.ContentLength > h.MaxBodySize {
		x.logLimit("request body is too large", optionMaxBodySize, h.MaxBodySize)
		x.answer(http.StatusRequestEntityTooLarge, "", nil, true)
		return false
	}
	switch {
	case r.Method == http.MethodConnect && !handshake:
		x.answer(http.StatusNotImplemented, "", nil, true)
		return false
	case r.RequestURI == "*" && r.Method != http.MethodOptions, // RFC 9112 section 3.2.4
		r.URL.Path != "*" && r.URL.Path != "" && !strings.HasPrefix(r.URL.Path, "/") || r.URL.Opaque != "":
		x.answer(http.StatusBadRequest, "", nil, true)
		return false
	}
	return true
}

// report calls Done.
func (x *exchange) report(err error) {
	if x.h.Done == nil {
		return
	}
	x.h.Done(&HTTPRecord{
		Request:  x.r,
		Status:   int(x.status),
		Bytes:    x.sent,
		Begin:    x.begin,
		Duration: time.Since(x.begin),
		Reason:   x.disconnectReason(),
		Close:    x.closing(),
		Err:      err,
		x:        x,
	})
}

// closing is the Close of the record.
func (x *exchange) closing() *HTTPClose {
	switch {
	case x.session != nil:
		return x.session.closing()
	case x.sse != nil && x.sse.reason != "" && !x.sse.headOnly:
		return &HTTPClose{Reason: x.sse.reason}
	}
	return nil
}

func (h *HTTPHandler) logger() *slog.Logger {
	if h.Logger != nil {
		return h.Logger
	}
	return slog.Default()
}

// warn is Warn.
func (h *HTTPHandler) warn(msg string, args ...any) {
	if h.Warn != nil {
		h.Warn(msg, args...)
		return
	}
	h.logger().Warn(msg, args...)
}

func (x *exchange) logLimit(msg, option string, limit int64) {
	x.h.warn(msg, "option", option, "limit", limit,
		"method", x.r.Method, "path", x.r.URL.Path, "client", x.r.RemoteAddr)
}

// cloneState copies the lifespan state for one scope.
func (h *HTTPHandler) cloneState() map[string]any {
	if h.State == nil {
		return nil
	}
	return maps.Clone(h.State())
}
