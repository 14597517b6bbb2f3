// Package engine turns one HTTP exchange into a scope and events, and events back into a
// response. It keeps the rules of the http, sse and websocket protocols of the specification
// between an application and the Stream by which a request has come. Package server/http1 and
// package pagi/nethttp have such streams; package pagitest uses the parts that need none.
//
// It may import package pagi, and must know nothing of sockets, of the versions of HTTP, of Perl,
// of middleware or of ready-made applications.
//
// Files: handler.go what a server configures and what it is told of a finished request,
// stream.go what an exchange needs of its carrier, exchange.go one request with its response,
// end.go how it ends, context.go the application's context, connection.go and flow.go what the
// application is told about its connection.
//
// A request: scope.go, tls.go and dn.go describe it, receive.go and request_trailers.go give its
// body to the application.
//
// A response: send.go is the application's Send, interim.go, file.go and trailers.go are its
// rarer events, write.go writes, queue.go does so on a goroutine of its own, finish.go settles
// what the application has left, time_limits.go ends what takes too long.
//
// Event streams are in sse_*.go. WebSockets are in websocket.go (what carries messages),
// websocket_session.go with its receive, send and keepalive (the protocol between carrier and
// application), and websocket_handshake.go (how an HTTP request becomes one).
package engine

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Handler calls an application for requests: it makes a scope of each, and keeps the rules
// of the specification (PAGI::Spec::Www) between the application and the Stream by which the
// request has come. A request of whatever method whose Accept header names text/event-stream
// is an sse scope; with WebSocket set a WebSocket handshake is a websocket scope. Only App
// must be set. The fields must not change once requests are served.
//
// A response ends with its last event, whether or not the application returns. A client that
// goes away while a request body is still unread is noticed by the next Receive or Send;
// below a stream that reads ahead, as package http1's does, at once where the body is short
// and has not all come.
type Handler struct {
	// App is called for every request.
	App pagi.App
	// State returns what the application kept at its lifespan startup; each scope
	// gets a shallow copy. Nil, or a nil map, leaves Scope.State nil.
	State func() map[string]any
	Limits
	Timeouts
	// TLSInfo returns what the tls extension tells of the connection a request came
	// by, which several scopes may share. Nil, or a nil result: TLSOf the request's
	// connection.
	TLSInfo func(*http.Request) *pagi.TLS
	// Stopping is closed when the application is about to be shut down: what would go on
	// without end (websocket and sse scopes) is then ended. Nil: never.
	Stopping <-chan struct{}
	// Replaced tells that another application has taken over. It ends what would go on without
	// end, too, but for streams that a part of both applications serves. Nil: never.
	Replaced *Replacement
	// Base is what the contexts of all requests derive from. An application that works
	// on after its response, when its request may be over, is cut by the end of Base,
	// whose cause is to be a *DisconnectError. Nil: it is never cut.
	Base context.Context
	// WebSocket completes WebSocket handshakes, which then become websocket scopes. Nil:
	// they are requests as any other, as they are to a server that does not know the
	// protocol (RFC 9110 section 7.8).
	WebSocket WebSocketUpgrader
	// Logger receives failures of the application and, without Warn, requests turned down
	// for a limit. Nil: slog.Default().
	Logger *slog.Logger
	// Warn is called in the place of Logger.Warn where a limit turns a request down or ends
	// a WebSocket, which clients can cause as often as they like. msg is one of few. Nil:
	// Logger's.
	Warn func(msg string, args ...any)
	// Observers are told of each request that has ended. See Observer.
	Observers []Observer
}

// Limits are what one request may cost. For each 0 or less means that there is no limit.
// The tags are for package server, which has defaults, and for site files and flags.
type Limits struct {
	// MaxBodySize is the largest request body in bytes. A larger one that is
	// announced by content-length gets 413 before the application is called; one
	// found out while reading gets 413 unless its response has begun, and ends the request
	// with reason body_too_large.
	MaxBodySize int64 `yaml:"max_body_size" unit:"bytes" default:"10MiB" zero:"off" help:"refuse a request body of more than {SIZE}"`
	// MaxHeaderCount is the largest number of request header lines; more get 431. With the
	// trailers more than that get 400.
	MaxHeaderCount int `yaml:"max_header_count" default:"100" zero:"off" help:"refuse a request with more than {N} header lines"`
	// HighWaterMark and LowWaterMark are those of Scope.Transport, in bytes: how much an
	// application that looks at it may have sent before Send blocks, and how little must
	// be left before Send goes on. Defaults: 64 KiB and 16 KiB (DefaultHighWaterMark,
	// DefaultLowWaterMark).
	// A low mark above the high one is lowered to it.
	HighWaterMark int `yaml:"write_high_watermark" unit:"bytes" default:"64KiB" help:"make an application's send wait when {SIZE} are unsent"`
	LowWaterMark  int `yaml:"write_low_watermark" unit:"bytes" default:"16KiB" help:"let a send that waits go on when fewer than {SIZE} are unsent"`
	// MaxReceiveQueue is how many messages of a WebSocket may wait for the application;
	// one more closes the connection with 1008 and reason queue_overflow. Unlike the
	// others it has a default for 0, which is 1000.
	MaxReceiveQueue int `yaml:"max_receive_queue" default:"1000" zero:"off" help:"let at most {N} WebSocket messages wait for the application"`
}

// Timeouts are how long parts of a request may take. For each 0 or less means that there is
// no limit. The tags are for package server, which has defaults, and for site files and flags.
type Timeouts struct {
	// BodyTimeout is how long the client may take for each piece of the request
	// body. A slower one gets 408, the application http.disconnect with reason
	// client_timeout.
	BodyTimeout time.Duration `yaml:"body_timeout" default:"30s" zero:"off" help:"refuse a request body of which no piece comes for {SECONDS}"`
	// WriteTimeout is how long a write may go on without progress (a file sent by
	// sendfile: without a single byte; other bodies: without the client taking
	// 64 KiB). A stalled one ends the request with reason write_timeout. It does
	// not bound the response as a whole.
	WriteTimeout time.Duration `yaml:"write_timeout" default:"60s" zero:"off" help:"give up a write that makes no progress for {SECONDS}"`
	// RequestTimeout is how long a request may go without reading from or writing
	// to the client. The client then gets 504 or, when the response had begun, a
	// cut connection; the application's context ends with the reason
	// "x-request-timeout", or client_timeout where it was waiting for the request
	// body. A Send that waits for a handle of the application's has twice the time.
	RequestTimeout time.Duration `yaml:"request_timeout" help:"answer 504 when a request neither reads nor writes for {SECONDS} (default 0: no limit)"`
	// MaxRequestTime is how long a request of an http scope may take as a whole, however
	// much is read and written meanwhile. What then happens is what RequestTimeout
	// says, with the reason "x-request-time".
	MaxRequestTime time.Duration `yaml:"max_request_time" help:"end a request that takes more than {SECONDS} as a whole (default 0: no limit)"`
	// SSEIdleTimeout is how long an open event stream may go without anything being
	// sent, comments included. It is ended then, with reason idle_timeout.
	SSEIdleTimeout time.Duration `yaml:"sse_idle_timeout" help:"end an event stream that sends nothing for {SECONDS} (default 0: no limit)"`
}

// Record tells how a request ended. It and what it points to are valid until
// RequestDone returns.
type Record struct {
	// Request is the request as it was received. Its Header may be nil; see the method Header.
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
	// Close is nil unless an event stream was closed with a reason, or a WebSocket with a
	// Close frame.
	Close *Closing
	// Err is what the application returned, or the *PanicError it ended with.
	Err error

	x *exchange // nil: the request was turned down before it came to one
}

// Closing is an sse.close, or the Close frame that began the end of a WebSocket,
// whether the client or the application sent it.
type Closing struct {
	// Code is the close code, 1005 for a Close frame without one, 0 for an event stream.
	Code int
	// Reason is the reason that was given; "" for none.
	Reason string
}

// Client returns the host of the client: the address that a trusted proxy has named
// (pagi.LogNotes.SetClient), and otherwise that of the peer. It is "" for a Unix socket.
func (r *Record) Client() string {
	if r.x != nil {
		if client, ok := r.x.notes.Client(); ok {
			return client.Host
		}
	}
	return ParseAddr(r.Request.RemoteAddr).Host
}

// User returns the name of the user that a middleware has authenticated (pagi.LogNotes.SetUser), or "".
func (r *Record) User() string {
	if r.x == nil {
		return ""
	}
	return r.x.notes.User()
}

// Mount returns the mount that has answered, as pagi.NewMountNote has told it, or "".
func (r *Record) Mount() string {
	if r.x == nil {
		return ""
	}
	return r.x.notes.Mount()
}

// Trace returns the trace of the request, as pagi.LogNotes.SetTrace has told it; nil: it is not recorded.
func (r *Record) Trace() pagi.Trace {
	if r.x == nil {
		return nil
	}
	return r.x.notes.Trace()
}

// Note returns the value of an attribute of the request's log notes, or nil.
func (r *Record) Note(name string) any {
	if r.x == nil {
		return nil
	}
	return r.x.notes.Value(name)
}

// IsStream reports whether the request was a WebSocket, or has become an event stream: it lasts as long as the client likes.
func (r *Record) IsStream() bool {
	return r.x != nil && (r.x.session != nil || r.x.sse.Load() != nil)
}

// Header returns the value of the request's first header called name, or "".
func (r *Record) Header(name string) string {
	if r.x != nil {
		return r.x.stream.RequestHeaders().Get(name)
	}
	if pagi.EqualFold(name, "host") {
		return r.Request.Host
	}
	return r.Request.Header.Get(name)
}

// Headers returns the request's headers called by one of the names, which are in lower case, in their order. The header host is not
// among them. known is false where the server has refused the request without reading its headers.
func (r *Record) Headers(names ...string) (found pagi.Headers, known bool) {
	if r.x != nil {
		for _, h := range r.x.stream.RequestHeaders() {
			if slices.Contains(names, h.Name) {
				found = append(found, h)
			}
		}
		return found, true
	}
	for _, name := range names {
		for _, value := range r.Request.Header.Values(name) {
			found = append(found, pagi.Header{Name: name, Value: value})
		}
	}
	return found, r.Request.Header != nil
}

// IsTurnedDown reports whether the handler or the server has answered the request itself, before the application was called.
func (r *Record) IsTurnedDown() bool { return r.x == nil || r.x.ctx == nil }

// ResponseHeader returns the value of the first header called name, in lower case, that
// the application has sent, or "".
func (r *Record) ResponseHeader(name string) string {
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
	optionBodyTimeout    = "--body-timeout"

	optionMaxReceiveQueue = "--max-receive-queue"
)

// Serve runs the application for one request and returns when the application has
// returned. Of r it uses the method, the target, the version, Host, TLS, ContentLength, Body
// and the context, which ends when the client leaves. It panics with http.ErrAbortHandler
// where the connection must be cut, so that the client can tell an unfinished response from
// a finished one.
func (h *Handler) Serve(stream Stream, r *http.Request) {
	x := newExchange(h, stream, r)
	if h.IsObserved() {
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
	if h.RequestTimeout > 0 || h.MaxRequestTime > 0 {
		defer x.limitTime().end()
	}
	if x.run() {
		panic(http.ErrAbortHandler)
	}
}

// run calls the application, settles what it leaves, and reports whether the
// connection must be cut.
func (x *exchange) run() (cut bool) {
	receive := x.receive
	if s := x.sse.Load(); s != nil {
		receive = s.receive
	}
	err := serveGuarded(x.ctx, x.h.App, &x.scope, receive, x.send)
	if errors.Is(err, pagi.ErrUnsupported) {
		if scope := x.leaveStream(); scope != nil {
			err = serveGuarded(x.ctx, x.h.App, scope, x.receive, x.send)
		}
	}
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
		if x.stream.HeaderLines() > h.MaxHeaderCount {
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
		x.logRefused(http.StatusNotImplemented, "the method is CONNECT")
		x.answer(http.StatusNotImplemented, "", nil, true)
		return false
	case r.RequestURI == "*" && r.Method != http.MethodOptions, // RFC 9112 section 3.2.4
		r.URL.Path != "*" && r.URL.Path != "" && !strings.HasPrefix(r.URL.Path, "/") || r.URL.Opaque != "":
		x.logRefused(http.StatusBadRequest, "the request target is malformed")
		x.answer(http.StatusBadRequest, "", nil, true)
		return false
	}
	return true
}

// report tells the observers of the request.
func (x *exchange) report(err error) {
	if !x.h.IsObserved() {
		return
	}
	r := records.Get().(*Record)
	*r = Record{
		Request:  x.r,
		Status:   int(x.status),
		Bytes:    x.sent,
		Begin:    x.begin,
		Duration: time.Since(x.begin),
		Reason:   x.end.reason(),
		Close:    x.closing(),
		Err:      err,
		x:        x,
	}
	x.h.Observe(r)
	*r = Record{}
	records.Put(r)
}

// records are Records that no observer has any more.
var records = sync.Pool{New: func() any { return new(Record) }}

// closing is the Close of the record.
func (x *exchange) closing() *Closing {
	switch {
	case x.session != nil:
		return x.session.closing()
	}
	if s := x.sse.Load(); s != nil && s.reason != "" && !s.headOnly {
		return &Closing{Reason: s.reason}
	}
	return nil
}

func (h *Handler) logger() *slog.Logger {
	if h.Logger != nil {
		return h.Logger
	}
	return slog.Default()
}

// warn is Warn.
func (h *Handler) warn(msg string, args ...any) {
	if h.Warn != nil {
		h.Warn(msg, args...)
		return
	}
	h.logger().Warn(msg, args...)
}

func (x *exchange) logLimit(msg, option string, limit int64) {
	x.h.warn(msg, "option", option, "limit", limit,
		"method", x.r.Method, "path", x.r.URL.Path, "client", x.client())
}

// logRefused logs that a request is turned down because it is malformed.
func (x *exchange) logRefused(status int, reason string) {
	x.h.warn("request is refused", "status", status, "reason", reason,
		"method", x.r.Method, "path", x.r.URL.Path, "client", x.client())
}

// cloneState copies the lifespan state for one scope.
func (h *Handler) cloneState() map[string]any {
	if h.State == nil {
		return nil
	}
	return maps.Clone(h.State())
}
