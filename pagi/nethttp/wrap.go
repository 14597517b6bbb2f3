package nethttp

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/server/ws"
)

// Wrap puts net/http middleware around an application. The middleware sees each http and websocket
// scope as the request that App would give a handler. It may answer itself, or call its next handler
// with a changed request and another ResponseWriter; next then runs with a scope and events made of
// those. Package middleware has it as a pagi.Middleware.
//
// What the middleware does not change reaches next as it was: path and root_path, the client's
// address, the scope's values, State, Stash and Notes. A changed URL.Path becomes the scope's Path;
// a prefix cut from its front moves to RootPath, as below a mount. Values in the request's context
// are values of the context that next gets. Headers come sorted by name.
//
// The lifespan scope goes straight to next. An sse scope is declined, as every net/http handler does,
// and next gets the event stream below the middleware, of which the headers of the http scope tell. A
// WebSocket's messages pass by a pipe in memory, because the middleware might hijack the connection.
//
// If next fails before its response has begun, the middleware sees a response of 500, or of the
// status in a *pagi.StatusError, and Wrap's application returns the error.
func Wrap(next pagi.App, middleware func(http.Handler) http.Handler) pagi.App {
	adapter := &Adapter{Engine: &engine.Handler{
		App: pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
			return ctx.Value(passageKey{}).(passage).serve(ctx, next, scope, receive, send)
		}),
		WebSocket: &ws.Server{},
		// The error is returned by Wrap's application, and is logged by its caller.
		Logger: slog.New(slog.DiscardHandler),
	}}
	outer := App(middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := r.Context().Value(crossingKey{}).(*crossing)
		ctx := context.WithValue(r.Context(), passageKey{}, passage{c, changed(c.scope, r)})
		adapter.ServeHTTP(w, r.WithContext(ctx))
	})))
	return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) (err error) {
		if scope.Type == pagi.TypeLifespan {
			return next.Serve(ctx, scope, receive, send)
		}
		c := newCrossing(scope)
		defer func() { // also if the middleware panics
			if failed := c.wait(); failed != nil {
				err = failed
			}
		}()
		return outer.Serve(context.WithValue(ctx, crossingKey{}, c), scope, receive, send)
	})
}

type (
	crossingKey struct{}
	passageKey  struct{}
)

// crossing is one call of the application that Wrap returns: what the inner side of the middleware
// needs of the outer one, and what the outer one needs of the inner one.
type crossing struct {
	scope *pagi.Scope // the outer one

	mu      sync.Mutex
	running int  // calls of next
	left    bool // the middleware has returned, and no call of next runs
	failed  []error
	change  *sync.Cond
}

func newCrossing(scope *pagi.Scope) *crossing {
	c := &crossing{scope: scope}
	c.change = sync.NewCond(&c.mu)
	return c
}

// errLate is the error of a middleware that calls its next handler after it has returned.
var errLate = errors.New("nethttp: the middleware has called its next handler after it had returned")

// passage is one call of the middleware's next handler. scope is the outer one with the middleware's
// changes.
type passage struct {
	*crossing
	scope *pagi.Scope
}

// serve calls next for the inner scope.
func (c passage) serve(ctx context.Context, next pagi.App, inner *pagi.Scope, receive pagi.Receive, send pagi.Send) (err error) {
	c.mu.Lock()
	if c.left {
		c.mu.Unlock()
		return errLate
	}
	c.running++
	c.mu.Unlock()
	defer func() {
		if p := recover(); p != nil {
			err = &pagi.PanicError{Value: p, Stack: debug.Stack()}
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.running--
		if err != nil && !declined(inner, err) {
			c.failed = append(c.failed, err)
		}
		c.change.Signal()
	}()
	return next.Serve(ctx, c.merge(inner), receive, send)
}

// declined reports whether next has only declined an event stream, and is called again.
func declined(scope *pagi.Scope, err error) bool {
	return scope.Type == pagi.TypeSSE && errors.Is(err, pagi.ErrUnsupported)
}

// wait waits until all calls of next have returned, and returns their errors.
func (c *crossing) wait() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.running > 0 {
		c.change.Wait()
	}
	c.left = true
	if len(c.failed) == 1 {
		return c.failed[0]
	}
	return errors.Join(c.failed...)
}

// merge returns the scope for next: what the passage has, and the inner scope's way to the client.
func (c passage) merge(inner *pagi.Scope) *pagi.Scope {
	s := c.scope.Clone()
	s.Type, s.Method, s.Headers, s.Subprotocols = inner.Type, inner.Method, inner.Headers, inner.Subprotocols
	s.Connection, s.Transport, s.Extensions = inner.Connection, inner.Transport, inner.Extensions
	if tls := c.scope.TLS(); tls != nil {
		s.Extensions = maps.Clone(inner.Extensions)
		s.Extensions[pagi.ExtTLS] = tls
	}
	if s.Stash == nil {
		s.Stash = inner.Stash
	}
	return s
}

// changed returns a copy of the outer scope with the changes that the middleware has made to its
// request.
func changed(outer *pagi.Scope, r *http.Request) *pagi.Scope {
	s := outer.Clone()
	if r.RemoteAddr != (scopeAddr{s.Client}).String() {
		s.Client = remoteAddr(r.RemoteAddr)
	}
	if scheme := r.URL.Scheme; scheme == "http" || scheme == "https" {
		s.Scheme = scheme
		if s.Type == pagi.TypeWebSocket {
			s.Scheme = "ws" + strings.TrimPrefix(scheme, "http")
		}
	}
	s.QueryString = r.URL.RawQuery
	was, is := cmp.Or(s.Path, "/"), r.URL.Path
	switch prefix, cut := strings.CutSuffix(was, is); {
	case was == is:
	case cut && strings.HasPrefix(is, "/"): // as http.StripPrefix does
		s.RootPath, s.Path = s.RootPath+prefix, is
	default:
		s.Path = is
	}
	return s
}

// remoteAddr reads an address with or without a port, as middleware that looks at X-Forwarded-For
// sets it.
func remoteAddr(text string) pagi.Addr {
	if ip, err := netip.ParseAddr(text); err == nil {
		return pagi.Addr{Host: ip.String()}
	}
	return engine.ParseAddr(text)
}
