package middleware

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// maxReflected is how many bytes of a preflight request's header are sent back.
const maxReflected = 2048

// CORS lets pages of other origins read responses (the Fetch standard, section 3.3). It answers
// preflight requests itself. In other responses it replaces the headers of CORS that the
// application has set, also for an origin that is not allowed. A failed application is answered by
// the server, without these headers.
//
// A WebSocket handshake needs no such headers: browsers let every page connect. CORS refuses it with
// 403 unless its origin is allowed, or names the host of the request.
type CORS struct {
	// Origins are the origins that may: "https://example.org"; "https://*.example.org" for all names
	// below example.org, but not itself; "null" for local files and sandboxed pages; "*" for all. None
	// means "*", unless AllowOrigin is set.
	Origins []string `yaml:"origins"`
	// AllowOrigin is asked about origins that are not in Origins.
	AllowOrigin func(scope *pagi.Scope, origin string) bool `yaml:"-"`
	// Methods are what pages may send. "*" allows each method that is asked for. None means GET, POST,
	// PUT, DELETE, PATCH and OPTIONS.
	Methods []string `yaml:"methods"`
	// Headers are the request headers that pages may set. "*" allows each header that is asked for.
	// None means Content-Type, Authorization and X-Requested-With.
	Headers []string `yaml:"headers"`
	// ExposeHeaders are the response headers that pages may read besides the usual ones.
	ExposeHeaders []string `yaml:"expose_headers"`
	// Credentials allows requests with cookies. It needs Origins without "*".
	Credentials bool `yaml:"credentials"`
	// MaxAge is how long browsers remember the answer to a preflight request.
	MaxAge time.Duration `yaml:"max_age" default:"24h" zero:"none"`
	// PrivateNetwork allows requests from public pages to a server in a private network.
	PrivateNetwork bool `yaml:"private_network"`
	// ContinuePreflight passes preflight requests to the application, and adds the headers to its
	// response.
	ContinuePreflight bool `yaml:"continue_preflight"`
	// AnyWebSocket lets WebSocket handshakes of every origin pass.
	AnyWebSocket bool `yaml:"any_websocket"`
}

func init() { parts.Middleware[CORS]("cors") }

// Check reports a text that is no origin, method or header name, a negative MaxAge, and Credentials
// for all origins.
func (m CORS) Check() error {
	set, err := m.origins()
	errs := []error{err}
	if m.Credentials && set.all {
		errs = append(errs, pagi.BadOption("credentials", `every site could act with the user's cookies: name the origins instead of "*"`))
	}
	for _, method := range m.Methods {
		errs = append(errs, checkMethod("methods", method))
	}
	for _, list := range []struct {
		option string
		names  []string
	}{{"headers", m.Headers}, {"expose_headers", m.ExposeHeaders}} {
		for _, name := range list.names {
			errs = append(errs, checkName(list.option, name))
		}
	}
	if m.Credentials && slices.Contains(m.ExposeHeaders, "*") {
		errs = append(errs, pagi.BadOption("expose_headers", `browsers do not take "*" together with credentials`))
	}
	if m.MaxAge < 0 && m.MaxAge != -1 {
		errs = append(errs, pagi.BadOption("max_age", "must not be negative, is %v", m.MaxAge))
	}
	return errors.Join(errs...)
}

func (m CORS) origins() (origins, error) {
	if len(m.Origins) == 0 && m.AllowOrigin == nil {
		return origins{all: true}, nil
	}
	return parseOrigins("origins", m.Origins)
}

// cors is a CORS that is ready for use.
type cors struct {
	CORS
	set              origins
	grant, preflight reply.CORS // without an origin
	next             passFunc
}

// Wrap puts m around next.
func (m CORS) Wrap(next pagi.App) pagi.App {
	option.SetDefaults(&m)
	c := &cors{CORS: m}
	c.set, _ = m.origins() // Check reports the error
	if len(c.Methods) == 0 {
		c.Methods = []string{"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"}
	}
	if len(c.Headers) == 0 {
		c.Headers = []string{"content-type", "authorization", "x-requested-with"}
	}
	c.grant = reply.CORS{Credentials: m.Credentials, Expose: strings.ToLower(strings.Join(m.ExposeHeaders, ", "))}
	c.preflight = reply.CORS{
		Credentials: m.Credentials, Methods: strings.ToUpper(strings.Join(c.Methods, ", ")), Headers: strings.ToLower(strings.Join(c.Headers, ", ")),
		MaxAge: strconv.FormatInt(int64(max(m.MaxAge, 0)/time.Second), 10),
	}
	c.next = onward(next)
	return wrapPassage(m, next, c.serve)
}

// varyOnOrigin is the edit of a response that another origin would get with other headers.
var varyOnOrigin = edit{change: func(b beginning, _ string) beginning {
	b.own()
	reply.Vary(&b.headers, "origin")
	return b
}}

func (c *cors) serve(ctx context.Context, p passage) error {
	origin, cross := originOf(p.scope)
	if p.scope.Type == pagi.TypeWebSocket {
		if cross && !c.AnyWebSocket && !c.allows(p.keep(), origin) && !isOwnOrigin(p.scope, origin) {
			return reply.Text(ctx, p.scope, p.sender(), http.StatusForbidden, "WebSocket connections from this origin are not allowed.")
		}
		return c.next(ctx, p)
	}
	if !cross {
		if !c.set.all {
			p.edit(varyOnOrigin, 1)
		}
		return c.next(ctx, p)
	}
	scope := p.keep() // for AllowOrigin and the edit
	allowed := c.allows(scope, origin)
	addHeaders := func(h *pagi.Headers) { c.write(h, c.grant, origin, allowed) }
	if scope.Method == http.MethodOptions && scope.Headers.Has("access-control-request-method") {
		addHeaders = func(h *pagi.Headers) { c.editPreflight(h, scope, origin, allowed) }
		if !c.ContinuePreflight {
			var headers pagi.Headers
			addHeaders(&headers)
			return reply.Send(ctx, scope, p.sender(), http.StatusNoContent, headers, nil)
		}
	}
	p.editHeaders(addHeaders)
	return c.next(ctx, p)
}

func (c *cors) allows(scope *pagi.Scope, origin string) bool {
	return c.set.has(origin) || c.AllowOrigin != nil && origin != "" && c.AllowOrigin(scope, origin)
}

func (c *cors) editPreflight(h *pagi.Headers, scope *pagi.Scope, origin string, allowed bool) {
	grant := c.preflight
	reply.Vary(h, "origin", "access-control-request-method", "access-control-request-headers")
	if grant.Methods == "*" {
		grant.Methods = reflected(scope.Headers.Get("access-control-request-method"))
	}
	if grant.Headers == "*" {
		grant.Headers = reflected(scope.Headers.Joined("access-control-request-headers"))
	}
	c.write(h, grant, origin, allowed)
	if c.PrivateNetwork {
		reply.Vary(h, "access-control-request-private-network")
		if allowed && scope.Headers.Get("access-control-request-private-network") == "true" {
			h.Set("access-control-allow-private-network", "true")
		}
	}
}

// write gives the headers of a response to what is granted to origin.
func (c *cors) write(h *pagi.Headers, grant reply.CORS, origin string, allowed bool) {
	*h = slices.DeleteFunc(*h, func(x pagi.Header) bool { return strings.HasPrefix(x.Name, "access-control-") })
	if !c.set.all {
		reply.Vary(h, "origin")
	}
	if !allowed {
		return
	}
	if grant.Origin = origin; c.set.all {
		grant.Origin = "*"
	}
	grant.Each(h.Set)
}

// reflected returns what a preflight request asks for, if it is a list of tokens.
func reflected(asked string) string {
	if len(asked) > maxReflected || !isTokenList(asked) {
		return ""
	}
	return asked
}
