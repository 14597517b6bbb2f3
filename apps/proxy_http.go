package apps

import (
	"context"
	"errors"
	"math"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/apps/internal/upstream"
	"github.com/pagi-go/pagi-bridge/internal/headername"
	"github.com/pagi-go/pagi-bridge/internal/hostname"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/internal/spool"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// proxyMethods are in the answer to a method that is not passed on.
const proxyMethods = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"

// refused answers a request that is not passed on. It reports whether it did.
func (p *proxy) refused(ctx context.Context, scope *pagi.Scope, send pagi.Send) (bool, error) {
	host := scope.Headers.Get("host")
	switch {
	case scope.Method == http.MethodTrace || scope.Method == http.MethodConnect:
		return true, reply.Status(ctx, scope, send, http.StatusMethodNotAllowed, "allow", proxyMethods)
	case scope.Path == "*" || scope.Headers.Get("max-forwards") == "0" && scope.Method == http.MethodOptions:
		return true, reply.Status(ctx, scope, send, http.StatusOK, "allow", proxyMethods) // RFC 9110 section 7.6.2
	case host != "" && !hostname.Valid(host), scope.Type == pagi.TypeHTTP && !headername.IsToken(scope.Method),
		climbs(scope.Path), scope.Path != "" && scope.Path[0] != '/', scope.Headers.Validate("") != nil:
		return true, reply.Status(ctx, scope, send, http.StatusBadRequest)
	}
	return false, nil
}

// serveHTTP passes an http scope on.
func (p *proxy) serveHTTP(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if refused, err := p.refused(ctx, scope, send); refused {
		return err
	}
	if scope.Path == "" && scope.RootPath != "" && p.prefix == "" && (scope.Method == http.MethodGet || scope.Method == http.MethodHead) {
		return reply.ToSlash(ctx, scope, send)
	}
	body, err := openBody(ctx, scope, receive)
	if err != nil {
		return err
	}
	defer body.end()
	x := &proxied{proxy: p, scope: scope, send: send, body: body}
	if p.pool.Backends()[0].IsFastCGI() { // and so are the others
		return x.serveFastCGI(ctx)
	}
	x.headers, x.host = p.requestHeaders(scope)
	x.expect()
	return x.run(ctx)
}

// proxied is an http scope that is passed on.
type proxied struct {
	*proxy
	scope   *pagi.Scope
	send    pagi.Send
	body    *proxyBody
	headers pagi.Headers // for the backend, without Host
	host    string       // the Host that a rule sets; "": none does

	// Of FastCGI:
	script script
	taken  *spool.Body // the request body that was taken in; nil: none was

	mu       sync.Mutex // held while an interim response is sent
	informed bool       // one has come

	answered int // the status of the backend's response; 0: there was none
}

// expect adapts the headers of expectations to the request.
func (x *proxied) expect() {
	if x.body.length != 0 && x.scope.Headers.HasToken("expect", "100-continue") {
		x.headers.Set("expect", "100-continue")
	}
	if x.scope.Method == http.MethodOptions {
		if n, err := strconv.Atoi(x.scope.Headers.Get("max-forwards")); err == nil && n > 0 {
			x.headers.Set("max-forwards", strconv.Itoa(n-1))
		}
	}
}

// run sends the request to backends until one answers.
func (x *proxied) run(ctx context.Context) error {
	var tried []*upstream.Backend
	key := x.key(x.scope)
	for {
		b, wait := x.pool.Pick(key, tried)
		if b == nil {
			if len(tried) > 0 {
				return reply.Status(ctx, x.scope, x.send, http.StatusBadGateway)
			}
			return x.unavailable(ctx, x.scope, x.send, wait)
		}
		again, err := x.attempt(ctx, b, len(tried)+1 < x.Tries)
		if !again {
			return err
		}
		tried = append(tried, b)
	}
}

// unavailable answers when no backend may be asked.
func (p *proxy) unavailable(ctx context.Context, scope *pagi.Scope, send pagi.Send, wait time.Duration) error {
	seconds := int(math.Ceil(wait.Seconds()))
	return reply.Status(ctx, scope, send, http.StatusServiceUnavailable, "retry-after", strconv.Itoa(max(1, seconds)))
}

// attempt sends the request to one backend. again says that another one may be asked, if mayRepeat
// allows that.
func (x *proxied) attempt(ctx context.Context, b *upstream.Backend, mayRepeat bool) (again bool, err error) {
	if x.scope.Trace() != nil {
		return x.attemptTraced(ctx, b, mayRepeat)
	}
	return x.try(ctx, b, mayRepeat)
}

// try is attempt without a span.
func (x *proxied) try(ctx context.Context, b *upstream.Backend, mayRepeat bool) (again bool, err error) {
	if !b.Acquire(ctx, x.ConnectTimeout) {
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		x.logFailure(b, errors.New("all connections are in use (option max_conns)"))
		return false, x.unavailable(ctx, x.scope, x.send, time.Second)
	}
	defer b.Release()
	if b.IsFastCGI() {
		return x.attemptFastCGI(ctx, x.transport.Direct(b), b, mayRepeat)
	}
	if d := x.transport.Direct(b); d != nil && x.body.length == 0 && isSafe(x.scope.Method) {
		return x.attemptDirect(ctx, d, b, mayRepeat)
	}
	asked, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	a := &proxyAttempt{proxied: x, ctx: ctx, backend: b, cancel: cancel}
	defer a.end()
	res, err := x.transport.RoundTrip(b, a.request(asked))
	x.mu.Lock()
	a.ended = true
	informed := x.informed
	x.mu.Unlock()
	if err == nil {
		a.patience.answer()
		return false, a.relay(ctx, res)
	}
	if failed := x.body.failure(); failed != nil { // the client's, or a limit's
		return false, failed
	}
	var overdue *upstream.OverdueError
	if errors.As(context.Cause(asked), &overdue) {
		err = overdue
	}
	mayRepeat = mayRepeat && !x.body.begun.Load() && !informed
	return x.failed(ctx, b, err, mayRepeat, a.connected.Load())
}

// failed ends an attempt without a response. again says that another backend may be asked, if
// mayRepeat allows that.
func (x *proxied) failed(ctx context.Context, b *upstream.Backend, err error, mayRepeat, connected bool) (again bool, _ error) {
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	x.pool.Failed(b, err)
	x.logFailure(b, err)
	var overdue *upstream.OverdueError
	isOverdue := errors.As(err, &overdue)
	if mayRepeat && len(x.pool.Backends()) > 1 && (!connected || isSafe(x.scope.Method) && x.body.length == 0 && !isOverdue) {
		return true, nil
	}
	status := http.StatusBadGateway
	if isTimeout(err) {
		status = http.StatusGatewayTimeout
	}
	return false, reply.Status(ctx, x.scope, x.send, status)
}

// isSafe reports whether a request with a method may be sent twice. There are more such methods,
// which are rare.
func isSafe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions
}

// isTimeout reports whether the system or the dialer has given up waiting.
func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// logFailure logs why a backend has not answered. The client is not told.
func (x *proxied) logFailure(b *upstream.Backend, err error) { x.proxy.logFailure(x.scope, b, err) }

func (p *proxy) logFailure(scope *pagi.Scope, b *upstream.Backend, err error) {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	p.logger.Warn("proxy: the backend has not answered", scope.Notes.Append([]any{
		"backend", b.Name, "method", scope.Method, "path", scope.RootPath + scope.Path, "client", scope.Client.Host, "error", err,
	})...)
}

// proxyAttempt is a request as it is sent to one backend.
type proxyAttempt struct {
	*proxied
	ctx       context.Context
	backend   *upstream.Backend
	cancel    context.CancelCauseFunc
	patience  patience
	connected atomic.Bool
	gone      atomic.Bool // the connection has ended
	unwatch   func() bool
	interim   int  // responses of 1xx
	ended     bool // interim responses are too late; guarded by mu

	// With an "Expect: 100-continue" the body waits for continued, for a time, or for over.
	expects   bool
	begin     time.Time
	continued chan struct{} // closed when the backend wants the body
	over      chan struct{} // closed when the attempt has ended
	once      sync.Once
}

func (a *proxyAttempt) end() {
	a.patience.end()
	if a.unwatch != nil {
		a.unwatch()
	}
	if a.expects {
		close(a.over)
	}
}

// connect is called when the request gets a connection.
func (a *proxyAttempt) connect(info httptrace.GotConnInfo) {
	a.connected.Store(true)
	a.awaitResponse()
	if a.body.body == nil {
		return
	}
	if a.unwatch != nil {
		a.unwatch()
	}
	a.unwatch = upstream.OnGone(info.Conn, func() {
		a.gone.Store(true)
		if a.body.begun.Load() {
			a.body.giveUp()
		}
	})
}

// awaitContinue waits until the backend wants the body, or has not said anything for a while.
// net/http would also send the body after a response that refuses it, to keep the connection. For
// that the client would have to send it.
func (a *proxyAttempt) awaitContinue() error {
	timer := time.NewTimer(upstream.ExpectTime - time.Since(a.begin))
	defer timer.Stop()
	select {
	case <-a.continued:
		return nil
	case <-a.over:
		return http.ErrBodyReadAfterClose
	case <-timer.C:
	}
	if !a.patience.isAnswered() {
		a.once.Do(func() { close(a.continued) })
		return nil
	}
	<-a.over
	return http.ErrBodyReadAfterClose
}

// overdue returns what ends the attempt when a phase takes too long.
func (a *proxyAttempt) overdue(phase, option string, limit time.Duration) func() {
	return func() { a.cancel(&upstream.OverdueError{Phase: phase, Option: option, Limit: limit}) }
}

func (a *proxyAttempt) awaitResponse() {
	a.patience.awaitRequest(a.ResponseTimeout, a.overdue("the response", "response_timeout", a.ResponseTimeout))
}

// request makes the request for the backend.
func (a *proxyAttempt) request(ctx context.Context) *http.Request {
	trace := &httptrace.ClientTrace{
		GotConn:        a.connect,
		Got1xxResponse: a.inform,
	}
	a.patience.awaitRequest(a.ConnectTimeout, a.overdue("a connection", "connect_timeout", a.ConnectTimeout))
	req := &http.Request{
		Method: a.scope.Method, URL: target(a.scope, a.backend), Host: or(a.host, a.hostFor(a.scope, a.backend)),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: asHTTP(a.headers), Trailer: a.body.trailers, ContentLength: a.body.length,
	}
	if a.body.body != nil {
		req.Body = &bodyAttempt{attempt: a, body: a.body}
		if a.expects = req.Header.Get("Expect") != ""; a.expects {
			a.begin, a.continued, a.over = time.Now(), make(chan struct{}), make(chan struct{})
		}
	}
	return req.WithContext(httptrace.WithClientTrace(ctx, trace))
}

// inform passes an interim response on. The transport calls it while the response is waited for.
func (a *proxyAttempt) inform(code int, header textproto.MIMEHeader) error {
	if a.interim++; a.interim > upstream.MaxInterim {
		return upstream.ErrInterim
	}
	if code == http.StatusContinue {
		if a.expects {
			a.once.Do(func() { close(a.continued) }) // receiving the body from the client tells it to continue
		}
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return nil
	}
	return a.proxied.inform(a.ctx, code, asPAGI(http.Header(header)))
}

// inform passes an interim response on to a client that knows such responses.
func (x *proxied) inform(ctx context.Context, code int, headers pagi.Headers) error {
	headers = endToEnd(headers)
	if code == http.StatusContinue || !x.scope.HasExtension(pagi.ExtInformational) || headers.Validate("") != nil {
		return nil
	}
	x.informed = true
	return x.send(ctx, pagi.HTTPResponseInformational{Status: code, Headers: headers})
}
