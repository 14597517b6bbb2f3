package pagitest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
)

// DefaultTimeout is how long an exchange may take unless Client.Timeout is set.
const DefaultTimeout = 10 * time.Second

// Client sends requests to one application and keeps cookies between them. Its
// fields may be set until the first request. It is not safe for concurrent use,
// except that exchanges made with Begin run beside one another.
type Client struct {
	// App is the application under test.
	App pagi.App
	// Headers are sent with every request; a request's own headers of the same
	// name replace them.
	Headers pagi.Headers
	// Scheme is "http" (the default) or "https".
	Scheme string
	// Host is the host header; "testserver" by default.
	Host string
	// RootPath is the path under which the application is mounted.
	RootPath string
	// HTTPVersion is the scope's HTTP version; "1.1" by default.
	HTTPVersion string
	// Extensions are the extensions of the scope; by default fullflush and http.informational.
	Extensions map[string]any
	// Timeout is how long one exchange may take; 0 means DefaultTimeout. After it
	// the application sees the client disconnect with client_timeout.
	Timeout time.Duration
	// Via takes the requests to a real server; nil: they stay in memory, unless DefaultVia is set.
	Via Carrier

	cookies []cookie
	state   map[string]any
	life    *lifespan.Run
	served  bool // Via is started
	started bool // with the application's lifespan
}

// New returns a client for app.
func New(app pagi.App) *Client { return &Client{App: app} }

// Start returns a client whose application has gone through lifespan startup and
// will be shut down at the end of the test. A failure of either fails the test. With a Carrier the
// application runs in its server.
//
//	client := pagitest.Start(t, app, socket.New(t))
func Start(t testing.TB, app pagi.App, via ...Carrier) *Client {
	t.Helper()
	c := New(app)
	for _, v := range via {
		c.Via = v
	}
	if err := c.Startup(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return c
}

// Run starts app, calls f with a client for it, and shuts app down. It returns the errors of all
// three.
func Run(ctx context.Context, app pagi.App, f func(*Client) error) error {
	c := New(app)
	if err := c.Startup(ctx); err != nil {
		return err
	}
	err := f(c)
	return errors.Join(err, c.Shutdown(ctx))
}

// Startup runs the application's lifespan startup. An application that declines
// is no error. Calling it again does nothing.
func (c *Client) Startup(ctx context.Context) error {
	if c.life != nil || c.started {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout())
	defer cancel()
	if c.Via == nil && DefaultVia != nil {
		c.Via = DefaultVia()
	}
	if c.Via != nil {
		return c.startVia(ctx)
	}
	state := map[string]any{}
	scope := &pagi.Scope{Type: pagi.TypeLifespan, PAGI: pagi.Versions{Version: pagi.SpecVersion}, State: state}
	run, err := lifespan.Start(ctx, c.App, scope)
	if err != nil {
		return err
	}
	c.life = run
	if run.Supported() {
		c.state = state
	}
	return nil
}

// Shutdown runs the application's lifespan shutdown if the application was started.
func (c *Client) Shutdown(ctx context.Context) error {
	if c.life == nil && !c.started {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout())
	defer cancel()
	if c.started {
		c.served, c.started, c.state = false, false, nil
		return c.Via.Stop(ctx)
	}
	run := c.life
	c.life, c.state = nil, nil
	return run.Shutdown(ctx)
}

// State returns the map that the application filled during startup; nil if it was not started or
// declined.
func (c *Client) State() map[string]any { return c.state }

// Get sends a GET request. target is a path with an optional query.
func (c *Client) Get(target string, opts ...Option) *Response { return c.Do("GET", target, opts...) }

// Head sends a HEAD request.
func (c *Client) Head(target string, opts ...Option) *Response { return c.Do("HEAD", target, opts...) }

// Post sends a POST request.
func (c *Client) Post(target string, opts ...Option) *Response { return c.Do("POST", target, opts...) }

// Put sends a PUT request.
func (c *Client) Put(target string, opts ...Option) *Response { return c.Do("PUT", target, opts...) }

// Patch sends a PATCH request.
func (c *Client) Patch(target string, opts ...Option) *Response {
	return c.Do("PATCH", target, opts...)
}

// Delete sends a DELETE request.
func (c *Client) Delete(target string, opts ...Option) *Response {
	return c.Do("DELETE", target, opts...)
}

// Options sends an OPTIONS request.
func (c *Client) Options(target string, opts ...Option) *Response {
	return c.Do("OPTIONS", target, opts...)
}

// Do sends a request and returns the whole response. It panics if target or an option is invalid,
// which is a bug of the test.
func (c *Client) Do(method, target string, opts ...Option) *Response {
	r := newRequest(opts)
	res := c.do(method, target, r)
	if r.follow {
		return c.follow(method, target, r, res)
	}
	return res
}

func (c *Client) do(method, target string, r *request) *Response {
	e := c.begin(method, target, r)
	for {
		if _, ok := e.Next(); !ok {
			return e.Finish()
		}
	}
}

// scheme and host are those of a request: its own after a redirect.
func (c *Client) scheme(r *request) string { return or(r.scheme, or(c.Scheme, "http")) }
func (c *Client) host(r *request) string   { return or(r.host, or(c.Host, "testserver")) }

func (c *Client) timeout() time.Duration {
	if c.Timeout > 0 {
		return c.Timeout
	}
	return DefaultTimeout
}

// scope makes the request's scope. An http scope contains the Connection.
func (c *Client) scope(method, target string, r *request) (*pagi.Scope, pagi.Connection, *engine.ConnectionControl) {
	rawPath, query, hasQuery := strings.Cut(target, "?")
	path := pathOf(target)
	if r.query != "" {
		if query != "" {
			query += "&"
		}
		query += r.query
		hasQuery = true
	}
	rawPath = (&url.URL{Path: c.RootPath}).EscapedPath() + rawPath
	target = rawPath
	if hasQuery {
		target += "?" + query
	}
	port := 80
	scheme := c.scheme(r)
	if scheme == "https" {
		port = 443
	}
	control := &engine.ConnectionControl{}
	connection := control.Connection()
	scope := &pagi.Scope{
		Type:        pagi.TypeHTTP,
		PAGI:        pagi.Versions{Version: pagi.SpecVersion},
		HTTPVersion: or(c.HTTPVersion, "1.1"),
		Method:      method,
		Scheme:      scheme,
		Path:        path,
		RawPath:     rawPath,
		Target:      target,
		QueryString: query,
		RootPath:    c.RootPath,
		Headers:     c.headers(path, r),
		Client:      pagi.Addr{Host: "127.0.0.1", Port: 12345},
		Server:      pagi.Addr{Host: "127.0.0.1", Port: port},
		State:       maps.Clone(c.state),
		Stash:       &pagi.Stash{},
		Extensions:  c.Extensions,
		Connection:  connection,
		Transport:   engine.NewFlowMeter(r.high, r.low),
	}
	if scope.Extensions == nil {
		scope.Extensions = map[string]any{pagi.ExtFullFlush: struct{}{}, pagi.ExtInformational: struct{}{}}
	}
	if engine.AcceptsEvents(scope.Headers) {
		scope.Type, scope.Connection = pagi.TypeSSE, nil
		scope.Extensions = maps.Clone(scope.Extensions)
		delete(scope.Extensions, pagi.ExtInformational)
	}
	for _, edit := range r.edits {
		edit(scope)
	}
	return scope, connection, control
}

// pathOf returns the decoded path of a target.
func pathOf(target string) string {
	rawPath, _, _ := strings.Cut(target, "?")
	path, err := url.PathUnescape(rawPath)
	if err != nil || !strings.HasPrefix(rawPath, "/") {
		panic(fmt.Sprintf("pagitest: target %q must be a path, percent-encoded where necessary", target))
	}
	return path
}

// headers joins the host header, the client's headers, the request's headers and the cookies.
func (c *Client) headers(path string, r *request) pagi.Headers {
	h := pagi.NewHeaders("host", c.host(r))
	for _, own := range []pagi.Headers{c.Headers, r.headers} {
		if r.elsewhere {
			own = slices.DeleteFunc(own.Clone(), func(x pagi.Header) bool {
				return slices.ContainsFunc([]string{"authorization", "cookie", "host"}, func(name string) bool { return pagi.EqualFold(name, x.Name) })
			})
		}
		for _, x := range own {
			h.Del(x.Name)
		}
		for _, x := range own {
			h.Add(x.Name, x.Value)
		}
	}
	if cookies := c.cookieHeader(c.origin(path, r)); cookies != "" && !h.Has("cookie") {
		h.Add("cookie", cookies)
	}
	return h
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
