package middleware

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/headername"
	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
)

// maxForwardConns is how many connections to the authentication server are open at a time.
const maxForwardConns = 64

// AuthForward asks another server whether a request may pass, as auth_request of nginx and ForwardAuth
// of Traefik do: by a GET of URL with some of the request's headers, and without its body.
//
// A status 2xx lets the request pass. 401, 403 and redirects are handed to the client with their
// headers and body. Any other status is answered with 502, and a failure with 503. Redirects are
// not followed.
//
// The server learns of the request by X-Forwarded-Method, -Proto, -Host, -Uri and -For. These are
// never those of the client.
type AuthForward struct {
	// URL is what is asked for, by http or https.
	URL string `yaml:"url"`
	// Socket is the Unix socket of the server; "" means the host of URL.
	Socket string `yaml:"socket" path:"yes"`
	// Paths are protected, with all below them; none means all paths.
	Paths []string `yaml:"paths"`
	// RequestHeaders are the names of the request's headers that the server gets; none means
	// Authorization and Cookie.
	RequestHeaders []string `yaml:"request_headers"`
	// ResponseHeaders are the names of headers of a 2xx answer that the application gets as headers of
	// the request. Those that the client has sent are removed, also for paths that are not protected.
	ResponseHeaders []string `yaml:"response_headers"`
	// UserHeader is the name of the header of a 2xx answer with the name of the user; "" means
	// Remote-User. It is removed from requests as ResponseHeaders are. Without it in the answer the
	// request passes without a user.
	UserHeader string `yaml:"user_header"`
	// Timeout is how long the server may take for its answer; 0 means 10 s.
	Timeout time.Duration `yaml:"timeout" default:"10s" zero:"must be more than 0"`
	// Logger gets failures of the server; nil means slog.Default.
	Logger *slog.Logger `yaml:"-"`
}

func init() { parts.Middleware[AuthForward]("auth_forward") }

// unforwardable are headers that belong to a connection or to the framing of a message, or that
// AuthForward sets itself.
var unforwardable = strings.Fields(`connection content-length host keep-alive proxy-connection te trailer transfer-encoding upgrade
	x-forwarded-for x-forwarded-host x-forwarded-method x-forwarded-proto x-forwarded-uri`)

// Check reports a URL that cannot be asked for, and names that are no headers or have another meaning.
func (m AuthForward) Check() error {
	var errs []error
	if u, err := url.Parse(m.URL); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.Fragment != "" {
		errs = append(errs, pagi.BadOption("url", "%q is no http or https URL", shownURL(m.URL)))
	}
	errs = append(errs, checkPaths("paths", m.Paths), checkName("user_header", m.userHeader()))
	for _, list := range []struct {
		option string
		names  []string
	}{{"request_headers", m.RequestHeaders}, {"response_headers", m.ResponseHeaders}, {"user_header", []string{m.userHeader()}}} {
		for _, name := range list.names {
			if err := checkName(list.option, name); err != nil {
				errs = append(errs, err)
			} else if slices.Contains(unforwardable, dashed(name)) {
				errs = append(errs, pagi.BadOption(list.option, "%s cannot be passed on", name))
			} else if list.option == "request_headers" && dashed(name) == dashed(m.userHeader()) {
				errs = append(errs, pagi.BadOption(list.option, "%s of the client is removed, because it is the user_header", name))
			}
		}
	}
	if m.Timeout < 0 {
		errs = append(errs, pagi.BadOption("timeout", "must not be negative, is %v", m.Timeout))
	}
	return errors.Join(errs...)
}

func (m AuthForward) userHeader() string { return or(m.UserHeader, "Remote-User") }

// dashed returns the name of a header in lower case with dashes. Some programs take "_" for "-".
func dashed(name string) string { return strings.ReplaceAll(headername.Lower(name), "_", "-") }

// forwarder is an AuthForward that is ready for use.
type forwarder struct {
	AuthForward
	client  *http.Client
	removed []string // the headers of the request that only the server may set
}

// Wrap puts m around next.
func (m AuthForward) Wrap(next pagi.App) pagi.App {
	option.SetDefaults(&m)
	if len(m.RequestHeaders) == 0 {
		m.RequestHeaders = []string{"authorization", "cookie"}
	}
	transport := &http.Transport{
		MaxConnsPerHost: maxForwardConns, MaxIdleConnsPerHost: maxForwardConns / 4, IdleConnTimeout: time.Minute,
		TLSHandshakeTimeout: m.Timeout, ResponseHeaderTimeout: m.Timeout, MaxResponseHeaderBytes: 64 << 10,
		DisableCompression: true, ForceAttemptHTTP2: true,
	}
	if m.Socket != "" {
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", m.Socket)
		}
	}
	f := &forwarder{AuthForward: m, removed: []string{dashed(m.userHeader())}, client: &http.Client{
		Transport: transport, Timeout: m.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	for _, name := range m.ResponseHeaders {
		f.removed = append(f.removed, dashed(name))
	}
	app := wrap(m, next, func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		below := f.without(scope)
		if !protects(m.Paths, scope) {
			return next.Serve(ctx, below, receive, send)
		}
		res, err := f.ask(ctx, scope)
		if err == nil {
			defer res.Body.Close() // it is read, or of no use
		}
		if ctx.Err() != nil {
			return context.Cause(ctx) // the client has left
		}
		if err != nil {
			logger(m.Logger).ErrorContext(ctx, "auth_forward: ask whether a request may pass", "url", shownURL(m.URL), "error", err)
			return reply.Status(ctx, scope, send, http.StatusServiceUnavailable, "retry-after", "10")
		}
		switch {
		case res.StatusCode >= 200 && res.StatusCode <= 299:
			if below, err = f.passed(below, res); err == nil {
				_, _ = io.CopyN(io.Discard, res.Body, 4096) // so that the connection can be used again
				res.Body.Close()
				return next.Serve(ctx, below, receive, keptPrivate(scope, send))
			}
		case slices.Contains(redirectCodes, res.StatusCode) || res.StatusCode == http.StatusUnauthorized || res.StatusCode == http.StatusForbidden:
			var body []byte
			if body, err = readAtMost(res.Body, maxAnswer); err == nil {
				return reply.Send(ctx, scope, send, res.StatusCode, handedOn(res.Header), body)
			}
		default:
			err = fmt.Errorf("the status %d is none that decides", res.StatusCode)
		}
		logger(m.Logger).ErrorContext(ctx, "auth_forward: the answer cannot be used", "url", shownURL(m.URL), "error", err)
		return reply.Status(ctx, scope, send, http.StatusBadGateway)
	})
	return lifespan.Hooks{Shutdown: []func(context.Context, map[string]any) error{func(context.Context, map[string]any) error {
		transport.CloseIdleConnections()
		return nil
	}}}.Wrap(app)
}

// without returns scope without the headers that only the server may set.
func (f *forwarder) without(scope *pagi.Scope) *pagi.Scope {
	forged := func(h pagi.Header) bool { return slices.Contains(f.removed, dashed(h.Name)) }
	if !slices.ContainsFunc(scope.Headers, forged) {
		return scope
	}
	scope = scope.Clone()
	scope.Headers = slices.DeleteFunc(scope.Headers.Clone(), forged)
	return scope
}

// ask sends the request to the server.
func (f *forwarder) ask(ctx context.Context, scope *pagi.Scope) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.URL, nil)
	if err != nil {
		return nil, err
	}
	req.Header["User-Agent"] = nil // not Go's
	for _, name := range f.RequestHeaders {
		for value := range scope.Headers.Values(name) {
			req.Header.Add(name, value)
		}
	}
	req.Header.Set("X-Forwarded-Method", methodOf(scope))
	req.Header.Set("X-Forwarded-Proto", webScheme(scope))
	req.Header.Set("X-Forwarded-Host", scope.Headers.Get("host"))
	req.Header.Set("X-Forwarded-Uri", scope.RequestURI())
	if net.ParseIP(scope.Client.Host) != nil {
		req.Header.Set("X-Forwarded-For", scope.Client.Host)
	}
	return f.client.Do(req)
}

// webScheme returns the scheme of the page that a request belongs to: "https" for "wss", too.
func webScheme(scope *pagi.Scope) string {
	if scope.Scheme == "https" || scope.Scheme == "wss" {
		return "https"
	}
	return "http"
}

// passed returns what the application gets of a request that may pass.
func (f *forwarder) passed(scope *pagi.Scope, res *http.Response) (*pagi.Scope, error) {
	users := res.Header.Values(f.userHeader())
	if len(users) > 1 || len(users) == 1 && hasControl(users[0]) {
		return nil, fmt.Errorf("it has %d users, or one with a control character", len(users))
	}
	var added pagi.Headers
	for _, name := range f.ResponseHeaders {
		for _, value := range res.Header.Values(name) {
			added.Add(name, value)
		}
	}
	if len(added) > 0 {
		scope = scope.Clone()
		scope.Headers = append(slices.Clip(scope.Headers), added...)
	}
	if len(users) == 1 && users[0] != "" {
		scope = identified(scope, pagi.Auth{Type: "forward", Username: users[0]}, nil)
	}
	return scope, nil
}

// handedOn returns the headers of an answer that are not about its connection.
func handedOn(from http.Header) pagi.Headers {
	var headers pagi.Headers
	of := pagi.Headers{{Name: "connection", Value: strings.Join(from.Values("Connection"), ",")}}
	for name, values := range from {
		name = headername.Lower(name)
		if slices.Contains(unforwardable, name) || name == "date" || name == "server" || of.HasToken("connection", name) {
			continue
		}
		for _, value := range values {
			headers.Add(name, value)
		}
	}
	slices.SortStableFunc(headers, func(a, b pagi.Header) int { return strings.Compare(a.Name, b.Name) })
	return headers
}

// readAtMost reads a body that must not have more than limit bytes.
func readAtMost(r io.Reader, limit int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(body)) > limit {
		err = fmt.Errorf("its body is larger than %d bytes", limit)
	}
	return body, err
}
