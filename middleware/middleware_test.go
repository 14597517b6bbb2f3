package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

// answering returns an application that sends events to any scope.
func answering(events ...pagi.Event) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		for _, ev := range events {
			if err := send(ctx, ev); err != nil {
				return err
			}
		}
		return nil
	})
}

var shared = pagi.NewHeaders("content-type", "text/plain")

var hello = answering(pagi.HTTPResponseStart{Status: 200, Headers: shared}, pagi.HTTPResponseBody{Body: []byte("hello")})

func ExampleRequestID() {
	app := middleware.RequestID{Generator: func(*pagi.Scope) string { return "42" }}.Wrap(hello)
	fmt.Println(pagitest.New(app).Get("/").Header("X-Request-ID"))
	// Output: 42
}

func TestRequestID(t *testing.T) {
	var scope *pagi.Scope
	app := pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, w pagi.Send) error {
		scope = s
		return hello.Serve(ctx, s, r, w)
	})
	generated := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	for name, tc := range map[string]struct {
		m        middleware.RequestID
		header   string
		incoming string
		keep     bool
	}{
		"a new one":                       {middleware.RequestID{}, "x-request-id", "", false},
		"an incoming one is not trusted":  {middleware.RequestID{}, "x-request-id", "mine", false},
		"unless asked for":                {middleware.RequestID{TrustIncoming: true}, "x-request-id", "mine", true},
		"in a header of another name":     {middleware.RequestID{TrustIncoming: true, Header: "X-Trace"}, "x-trace", "mine", true},
		"but not an empty one":            {middleware.RequestID{TrustIncoming: true}, "x-request-id", "", false},
		"nor one with a space":            {middleware.RequestID{TrustIncoming: true}, "x-request-id", "a b", false},
		"nor one outside ASCII":           {middleware.RequestID{TrustIncoming: true}, "x-request-id", "ü", false},
		"nor one that is far too long":    {middleware.RequestID{TrustIncoming: true}, "x-request-id", strings.Repeat("x", 129), false},
		"one as long as allowed is taken": {middleware.RequestID{TrustIncoming: true}, "x-request-id", strings.Repeat("x", 128), true},
	} {
		res := pagitest.New(tc.m.Wrap(app)).Get("/", pagitest.Header(tc.header, tc.incoming))
		id := res.Header(tc.header)
		if res.Err != nil || scope.Value(scopekey.RequestID) != id || scope.Headers.Get(tc.header) != id {
			t.Errorf("%s: %v, header %q, scope %v", name, res.Err, id, scope.Value(scopekey.RequestID))
		}
		if tc.keep && id != tc.incoming || !tc.keep && !generated.MatchString(id) {
			t.Errorf("%s: %q", name, id)
		}
	}
	c := pagitest.New(middleware.RequestID{}.Wrap(hello))
	if a, b := c.Get("/").Header("x-request-id"), c.Get("/").Header("x-request-id"); a == b || a[:13] > b[:13] {
		t.Errorf("ids do not differ or do not sort by time: %s, %s", a, b)
	}
	if len(shared) != 1 {
		t.Errorf("the application's own headers were changed: %v", shared)
	}
}

func ExampleRuntime() {
	app := middleware.Runtime{Precision: 3}.Wrap(hello)
	took := pagitest.New(app).Get("/").Header("X-Runtime")
	fmt.Println(len(took), took[:2])
	// Output: 5 0.
}

func TestRuntime(t *testing.T) {
	for name, tc := range map[string]struct {
		m            middleware.Runtime
		header, want string
		timing       string
	}{
		"the zero value": {middleware.Runtime{}, "x-runtime", `^0\.\d{6}$`, `^$`},
		"all options":    {middleware.Runtime{Header: "X-Took", Precision: 2, ServerTiming: true}, "x-took", `^0\.\d\d$`, `^app;dur=\d+\.\d{3}$`},
	} {
		res := pagitest.New(tc.m.Wrap(hello)).Get("/")
		if res.Err != nil || !regexp.MustCompile(tc.want).MatchString(res.Header(tc.header)) || !regexp.MustCompile(tc.timing).MatchString(res.Header("server-timing")) {
			t.Errorf("%s: %v %v", name, res.Headers, res.Err)
		}
	}
}

func ExampleSecurityHeaders() {
	app := middleware.SecurityHeaders{XFrameOptions: "DENY", XXSSProtection: "off"}.Wrap(hello)
	for _, h := range pagitest.New(app).Get("/").Headers[1:] {
		fmt.Println(h.Name + ": " + h.Value)
	}
	// Output:
	// x-frame-options: DENY
	// x-content-type-options: nosniff
	// referrer-policy: strict-origin-when-cross-origin
}

func TestSecurityHeaders(t *testing.T) {
	all := middleware.SecurityHeaders{
		XFrameOptions: "DENY", XContentTypeOptions: "off", XXSSProtection: "0", ReferrerPolicy: "no-referrer", StrictTransportSecurity: "max-age=1",
		ContentSecurityPolicy: "default-src 'self'", PermissionsPolicy: "camera=()", CrossOriginOpenerPolicy: "same-origin",
		CrossOriginEmbedderPolicy: "require-corp", CrossOriginResourcePolicy: "same-site",
	}
	ownFrame := answering(pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("x-frame-options", "mine")}, pagi.HTTPResponseBody{})
	bare := answering(pagi.HTTPResponseStart{Status: 200}, pagi.HTTPResponseBody{})
	for name, tc := range map[string]struct {
		m      middleware.SecurityHeaders
		app    pagi.App
		scheme string
		want   []string
	}{
		"the defaults": {middleware.SecurityHeaders{}, bare, "http", []string{"x-frame-options", "SAMEORIGIN", "x-content-type-options", "nosniff",
			"x-xss-protection", "1; mode=block", "referrer-policy", "strict-origin-when-cross-origin"}},
		"everything, over https": {all, bare, "https", []string{"x-frame-options", "DENY", "x-xss-protection", "0", "referrer-policy", "no-referrer",
			"strict-transport-security", "max-age=1", "content-security-policy", "default-src 'self'", "permissions-policy", "camera=()",
			"cross-origin-opener-policy", "same-origin", "cross-origin-embedder-policy", "require-corp", "cross-origin-resource-policy", "same-site"}},
		"HSTS not over http, the application's own first": {middleware.SecurityHeaders{StrictTransportSecurity: "max-age=1", XContentTypeOptions: "off", XXSSProtection: "off", ReferrerPolicy: "off"},
			ownFrame, "http", []string{"x-frame-options", "mine"}},
	} {
		c := pagitest.New(tc.m.Wrap(tc.app))
		c.Scheme = tc.scheme
		res := c.Get("/")
		if diff := cmp.Diff(pagi.NewHeaders(tc.want...), res.Headers); diff != "" || res.Err != nil {
			t.Errorf("%s: %v %s", name, res.Err, diff)
		}
	}
}

func ExampleHead() {
	res := pagitest.New(middleware.Head{}.Wrap(hello)).Head("/")
	fmt.Println(res.Status, len(res.Body), res.Err)
	// Output: 200 0 <nil>
}

func TestHead(t *testing.T) {
	var method string
	app := pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, w pagi.Send) error {
		method = s.Method
		body := func(b string, more bool) pagi.Event { return pagi.HTTPResponseBody{Body: []byte(b), More: more} }
		return answering(pagi.HTTPFullFlush{}, pagi.HTTPResponseStart{Status: 200, Trailers: true, Headers: pagi.NewHeaders("content-length", "2")},
			body("a", true), body("b", false), pagi.HTTPResponseTrailers{}).Serve(ctx, s, r, w)
	})
	c := pagitest.New(middleware.Head{}.Wrap(app))
	res := c.Head("/")
	var types []string
	for _, ev := range res.Events {
		types = append(types, ev.EventType())
	}
	if diff := cmp.Diff([]string{"http.fullflush", "http.response.start", "http.response.body"}, types); diff != "" || res.Err != nil {
		t.Errorf("%v %s", res.Err, diff)
	}
	if method != "GET" || res.Header("content-length") != "2" {
		t.Errorf("method %s, headers %v", method, res.Headers)
	}
	if res := c.Post("/"); method != "POST" || res.Text() != "ab" {
		t.Errorf("POST: %s %q", method, res.Text())
	}
	file := answering(pagi.HTTPResponseStart{Status: 200}, pagi.HTTPResponseBody{FH: strings.NewReader("x"), More: true, Length: pagi.ToEnd})
	if res := pagitest.New(middleware.Head{}.Wrap(file)).Head("/"); res.Err != nil {
		t.Errorf("a file: %v", res.Err)
	}
}

func ExampleContentLength() {
	res := pagitest.New(middleware.ContentLength{}.Wrap(hello)).Get("/")
	fmt.Println(res.Header("content-length"))
	// Output: 5
}

func TestContentLength(t *testing.T) {
	body := func(b string, more bool) pagi.Event { return pagi.HTTPResponseBody{Body: []byte(b), More: more} }
	start := func(pairs ...string) pagi.Event {
		return pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders(pairs...)}
	}
	for name, tc := range map[string]struct {
		buffer int
		events []pagi.Event
		length string
		chunks []string
	}{
		"one piece":                  {0, []pagi.Event{start(), body("hello", false)}, "5", []string{"hello"}},
		"an empty body":              {0, []pagi.Event{start(), body("", false)}, "0", nil},
		"pieces, nothing held back":  {0, []pagi.Event{start(), body("he", true), body("llo", false)}, "", []string{"he", "llo"}},
		"an empty piece first":       {0, []pagi.Event{start(), body("", true), body("llo", false)}, "3", []string{"llo"}},
		"pieces that fit":            {3, []pagi.Event{start(), body("he", true), body("l", true), body("lo", false)}, "5", []string{"hello"}},
		"pieces that do not":         {3, []pagi.Event{start(), body("he", true), body("ll", true), body("o", false)}, "", []string{"he", "ll", "o"}},
		"a length already there":     {9, []pagi.Event{start("content-length", "2"), body("h", true), body("e", false)}, "2", []string{"h", "e"}},
		"a flush":                    {9, []pagi.Event{start(), body("he", true), pagi.HTTPFullFlush{}, body("llo", false)}, "", []string{"he", "llo"}},
		"a file":                     {9, []pagi.Event{start(), pagi.HTTPResponseBody{FH: strings.NewReader("file"), Length: pagi.ToEnd}}, "", []string{"file"}},
		"trailers":                   {9, []pagi.Event{pagi.HTTPResponseStart{Status: 200, Trailers: true}, body("x", false), pagi.HTTPResponseTrailers{}}, "", []string{"x"}},
		"a status without a body":    {9, []pagi.Event{pagi.HTTPResponseStart{Status: 204}, body("", false)}, "", nil},
		"informational goes through": {9, []pagi.Event{pagi.HTTPResponseInformational{Status: 103}, start(), body("x", false)}, "1", []string{"x"}},
	} {
		res := pagitest.New(middleware.ContentLength{Buffer: tc.buffer}.Wrap(answering(tc.events...))).Get("/")
		var chunks []string
		for _, c := range res.Chunks {
			chunks = append(chunks, string(c))
		}
		if diff := cmp.Diff(tc.chunks, chunks); diff != "" || res.Err != nil || res.Header("content-length") != tc.length {
			t.Errorf("%s: length %q, %v %s", name, res.Header("content-length"), res.Err, diff)
		}
	}
	if res := pagitest.New(middleware.ContentLength{}.Wrap(hello)).Head("/"); res.Headers.Has("content-length") {
		t.Error("HEAD got a length")
	}
	boom := errors.New("boom")
	failing := pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, w pagi.Send) error {
		return errors.Join(answering(start()).Serve(ctx, s, r, w), boom)
	})
	if res := pagitest.New(middleware.ContentLength{}.Wrap(failing)).Get("/"); res.Status != 500 || !errors.Is(res.Err, boom) {
		t.Errorf("an application that fails after its start: %d %v", res.Status, res.Err)
	}
	unfinished := answering(start(), body("x", true))
	if res := pagitest.New(middleware.ContentLength{Buffer: 9}.Wrap(unfinished)).Get("/"); res.Text() != "x" || res.Err == nil {
		t.Errorf("an application that does not finish: %q %v", res.Text(), res.Err)
	}
}

func ExampleHTTPSRedirect() {
	client := pagitest.New(middleware.HTTPSRedirect{HSTS: true}.Wrap(hello))
	client.Host = "example.org:8080"
	res := client.Get("/page?x=1")
	fmt.Println(res.Status, res.Header("location"))
	client.Scheme = "https"
	fmt.Println(client.Get("/").Header("strict-transport-security"))
	// Output:
	// 301 https://example.org/page?x=1
	// max-age=31536000; includeSubDomains
}

func TestHTTPSRedirect(t *testing.T) {
	for name, tc := range map[string]struct {
		m              middleware.HTTPSRedirect
		host, target   string
		status         int
		location, body string
	}{
		"the path as it was sent":    {middleware.HTTPSRedirect{}, "h", "/a%2Fb%20c?q=%20", 301, "https://h/a%2Fb%20c?q=%20", ""},
		"an empty query":             {middleware.HTTPSRedirect{}, "h", "/a?", 301, "https://h/a?", ""},
		"another code":               {middleware.HTTPSRedirect{RedirectCode: 308}, "h", "/", 308, "https://h/", ""},
		"an IPv6 host":               {middleware.HTTPSRedirect{}, "[::1]:80", "/", 301, "https://[::1]/", ""},
		"an IPv6 host without port":  {middleware.HTTPSRedirect{}, "[::1]", "/", 301, "https://[::1]/", ""},
		"a fixed host":               {middleware.HTTPSRedirect{Host: "h.example:8443"}, "evil", "/x", 301, "https://h.example:8443/x", ""},
		"an excluded path":           {middleware.HTTPSRedirect{Exclude: []string{"/health"}}, "h", "/health", 200, "", "hello"},
		"not what is below it":       {middleware.HTTPSRedirect{Exclude: []string{"/health"}}, "h", "/health/x", 301, "https://h/health/x", ""},
		"an excluded directory":      {middleware.HTTPSRedirect{Exclude: []string{"/.well-known/"}}, "h", "/.well-known/x", 200, "", "hello"},
		"a host with a slash":        {middleware.HTTPSRedirect{}, "evil/x", "/", 400, "", ""},
		"a host with user and at":    {middleware.HTTPSRedirect{}, "a@b", "/", 400, "", ""},
		"no host":                    {middleware.HTTPSRedirect{}, "", "/", 400, "", ""},
		"no HSTS over plain http":    {middleware.HTTPSRedirect{HSTS: true, Exclude: []string{"/"}}, "h", "/", 200, "", "hello"},
		"a path with another's host": {middleware.HTTPSRedirect{}, "h", "//evil/", 301, "https://h//evil/", ""},
	} {
		res := pagitest.New(tc.m.Wrap(hello)).Get(tc.target, pagitest.Header("host", tc.host))
		if res.Err != nil || res.Status != tc.status || res.Header("location") != tc.location || tc.body != "" && res.Text() != tc.body || res.Headers.Has("strict-transport-security") {
			t.Errorf("%s: %d %q %v", name, res.Status, res.Header("location"), res.Err)
		}
	}
	c := pagitest.New(middleware.HTTPSRedirect{}.Wrap(hello))
	if got := c.Get("/x", pagitest.Edit(func(s *pagi.Scope) { s.Target, s.RawPath, s.RootPath = "", "", "/ü" })).Header("location"); got != "https://testserver/%C3%BC/x" {
		t.Errorf("without a raw path: %q", got)
	}
	c.Scheme = "https"
	if res := c.Get("/"); res.Text() != "hello" || res.Headers.Has("strict-transport-security") {
		t.Errorf("over https: %q %v", res.Text(), res.Headers)
	}
	c.App = middleware.HTTPSRedirect{HSTS: true, HSTSMaxAge: 5 * time.Second}.Wrap(hello)
	if got := c.Get("/").Header("strict-transport-security"); got != "max-age=5; includeSubDomains" {
		t.Errorf("hsts_max_age: %q", got)
	}
	c.App = middleware.HTTPSRedirect{HSTS: true, HSTSMaxAge: -1}.Wrap(hello) // from a 0 in a site file
	if got := c.Get("/").Header("strict-transport-security"); got != "max-age=0; includeSubDomains" {
		t.Errorf("browsers are not told to forget: %q", got)
	}
	c.App = middleware.HTTPSRedirect{HSTS: true, HSTSHostOnly: true}.Wrap(hello)
	if got := c.Get("/").Header("strict-transport-security"); got != "max-age=31536000" {
		t.Errorf("hsts_host_only: %q", got)
	}
}

func TestEveryStartIsEdited(t *testing.T) {
	for scopeType, starts := range map[string][]pagi.Event{
		pagi.TypeSSE:       {pagi.SSEStart{}, pagi.SSEHTTPResponseStart{Status: 404}},
		pagi.TypeWebSocket: {pagi.WebSocketAccept{}, pagi.WebSocketHTTPResponseStart{Status: 403}},
	} {
		for _, start := range starts {
			var got string
			send := func(_ context.Context, ev pagi.Event) error { got = fmt.Sprint(ev); return nil }
			app := middleware.RequestID{Generator: func(*pagi.Scope) string { return "id-1" }}.Wrap(answering(start))
			if err := app.Serve(t.Context(), &pagi.Scope{Type: scopeType}, nil, send); err != nil || !strings.Contains(got, "id-1") {
				t.Errorf("%s: %s %v", start.EventType(), got, err)
			}
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	type part interface {
		pagi.Middleware
		pagi.Checker
	}
	for want, m := range map[string]part{
		`header: "a b" is not a header name`:                          middleware.RequestID{Header: "a b"},
		`header: "\n" is not a header name`:                           middleware.Runtime{Header: "\n"},
		`precision: must be 1 to 9, is 10`:                            middleware.Runtime{Precision: 10},
		`buffer: must not be negative, is -1`:                         middleware.ContentLength{Buffer: -1},
		`permissions_policy: "a\nb" must not contain`:                 middleware.SecurityHeaders{PermissionsPolicy: "a\nb"},
		`redirect_code: must be 301`:                                  middleware.HTTPSRedirect{RedirectCode: 200},
		`exclude: "health" must begin with a slash`:                   middleware.HTTPSRedirect{Exclude: []string{"health"}},
		`hsts_max_age: must not be negative, is -1s`:                  middleware.HTTPSRedirect{HSTSMaxAge: -time.Second},
		`host: "https://example.org" is not a host name`:              middleware.HTTPSRedirect{Host: "https://example.org"},
		`x_frame_options: "\x00" must not contain control characters`: middleware.SecurityHeaders{XFrameOptions: "\x00"},
	} {
		err := m.Check()
		var bad *pagi.OptionError
		if !errors.As(err, &bad) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
		c := pagitest.New(m.Wrap(hello))
		if err := c.Startup(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("startup with a wrong option: %v", err)
		}
		if res := c.Get("/"); res.Status != 500 || !errors.As(res.Err, &bad) {
			t.Errorf("a request with a wrong option: %d %v", res.Status, res.Err)
		}
	}
	for _, m := range []part{middleware.RequestID{}, middleware.Runtime{}, middleware.SecurityHeaders{}, middleware.Head{}, middleware.ContentLength{}, middleware.HTTPSRedirect{}} {
		if err := m.Check(); err != nil {
			t.Errorf("the zero value of %T: %v", m, err)
		}
		app := m.Wrap(pagi.AppFunc(func(_ context.Context, s *pagi.Scope, _ pagi.Receive, _ pagi.Send) error { return pagi.Unsupported(s) }))
		if err := app.Serve(t.Context(), &pagi.Scope{Type: pagi.TypeLifespan}, nil, nil); !errors.Is(err, pagi.ErrUnsupported) {
			t.Errorf("%T does not pass lifespan on: %v", m, err)
		}
	}
}
