package middleware_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

func ExampleMethodOverride() {
	app := middleware.MethodOverride{Form: true}.Wrap(pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, w pagi.Send) error {
		return respond(200, fmt.Sprint(s.Value(scopekey.OriginalMethod), " became ", s.Method)).Serve(ctx, s, r, w)
	}))
	fmt.Println(pagitest.New(app).Post("/articles/7", pagitest.Form("_method", "delete")).Text())
	// Output: POST became DELETE
}

func TestMethodOverride(t *testing.T) {
	header := func(method string) pagitest.Option { return pagitest.Header("x-http-method-override", method) }
	for _, c := range []struct {
		name           string
		m              middleware.MethodOverride
		method, target string
		opts           []pagitest.Option
		want           string
		body           string
	}{
		{"by the header", middleware.MethodOverride{}, "POST", "/", []pagitest.Option{header("DELETE")}, "DELETE", ""},
		{"in lower case", middleware.MethodOverride{}, "POST", "/", []pagitest.Option{header("patch")}, "PATCH", ""},
		{"by the query", middleware.MethodOverride{}, "POST", "/?a=b&_method=PUT", nil, "PUT", ""},
		{"by an encoded query", middleware.MethodOverride{}, "POST", "/?%5Fmethod=PU%54", nil, "PUT", ""},
		{"the first one of the query", middleware.MethodOverride{}, "POST", "/?_method=PUT&_method=DELETE", nil, "PUT", ""},
		{"the header counts first", middleware.MethodOverride{}, "POST", "/?_method=PUT", []pagitest.Option{header("DELETE")}, "DELETE", ""},
		{"even if it is not allowed", middleware.MethodOverride{}, "POST", "/?_method=PUT", []pagitest.Option{header("TRACE")}, "POST", ""},
		{"nothing is asked", middleware.MethodOverride{}, "POST", "/", nil, "POST", ""},
		{"GET", middleware.MethodOverride{}, "GET", "/?_method=DELETE", []pagitest.Option{header("DELETE")}, "GET", ""},
		{"PUT", middleware.MethodOverride{}, "PUT", "/", []pagitest.Option{header("DELETE")}, "PUT", ""},
		{"a POST does not become a GET", middleware.MethodOverride{}, "POST", "/", []pagitest.Option{header("GET")}, "POST", ""},
		{"nor a HEAD", middleware.MethodOverride{}, "POST", "/?_method=HEAD", nil, "POST", ""},
		{"a method that is not allowed", middleware.MethodOverride{AllowedMethods: []string{"DELETE"}}, "POST", "/", []pagitest.Option{header("PUT")}, "POST", ""},
		{"an own method", middleware.MethodOverride{AllowedMethods: []string{"PURGE"}}, "POST", "/", []pagitest.Option{header("PURGE")}, "PURGE", ""},
		{"no methods", middleware.MethodOverride{AllowedMethods: []string{}}, "POST", "/", []pagitest.Option{header("PUT")}, "POST", ""},
		{"another header", middleware.MethodOverride{Header: "X-Method"}, "POST", "/", []pagitest.Option{pagitest.Header("x-method", "PUT"), header("DELETE")}, "PUT", ""},
		{"no header", middleware.MethodOverride{Header: "off"}, "POST", "/?_method=PUT", []pagitest.Option{header("DELETE")}, "PUT", ""},
		{"another parameter", middleware.MethodOverride{Param: "m"}, "POST", "/?m=PUT&_method=DELETE", nil, "PUT", ""},
		{"no parameter", middleware.MethodOverride{Param: "off"}, "POST", "/?_method=PUT&off=PUT", nil, "POST", ""},
		{"a form is not read", middleware.MethodOverride{}, "POST", "/", []pagitest.Option{pagitest.Form("_method", "PUT")}, "POST", "_method=PUT"},
		{"a form is read if asked for", middleware.MethodOverride{Form: true}, "POST", "/", []pagitest.Option{pagitest.Form("a", "b", "_method", "PUT")}, "PUT", "a=b&_method=PUT"},
		{"the query counts before the form", middleware.MethodOverride{Form: true}, "POST", "/?_method=DELETE", []pagitest.Option{pagitest.Form("_method", "PUT")}, "DELETE", "_method=PUT"},
		{"a form of another kind", middleware.MethodOverride{Form: true}, "POST", "/", []pagitest.Option{contentType("text/plain"), pagitest.Body("_method=PUT")}, "POST", "_method=PUT"},
		{"a multipart form", middleware.MethodOverride{Form: true}, "POST", "/", []pagitest.Option{contentType("multipart/form-data; boundary=x"), pagitest.Body("--x--")}, "POST", "--x--"},
		{"a form that is too large", middleware.MethodOverride{Form: true, MaxForm: 5}, "POST", "/", []pagitest.Option{pagitest.Form("_method", "PUT")}, "413", ""},
	} {
		var found bodySeen
		res := pagitest.New(c.m.Wrap(lookAtBody(&found))).Do(c.method, c.target, c.opts...)
		if res.Status == 413 {
			found.method = "413"
		}
		var original any
		if c.want != c.method && c.want != "413" {
			original = "POST"
		}
		if found.method != c.want || found.original != original || found.body != c.body {
			t.Errorf("%s: %s, originally %v, %q, %v", c.name, found.method, found.original, found.body, res.Err)
		}
	}
	var found bodySeen
	scope := &pagi.Scope{Type: pagi.TypeHTTP, Method: "POST", Headers: pagi.NewHeaders("x-http-method-override", "DELETE\x00")}
	receive := func(context.Context) (pagi.Event, error) { return pagi.HTTPRequest{}, nil }
	send := func(context.Context, pagi.Event) error { return nil }
	if err := (middleware.MethodOverride{}).Wrap(lookAtBody(&found)).Serve(t.Context(), scope, receive, send); err != nil || found.method != "POST" || scope.Method != "POST" {
		t.Errorf("a method with a zero byte: %s %v", found.method, err)
	}
	client := pagitest.New(middleware.MethodOverride{Form: true}.Wrap(lookAtBody(&found)))
	if res := client.Post("/", pagitest.AcceptEvents(), pagitest.Form("_method", "PUT")); res.Err != nil || !found.sse || found.method != "PUT" || found.body != "_method=PUT" {
		t.Errorf("sse: %+v %v", found, res.Err)
	}
	for want, m := range map[string]middleware.MethodOverride{
		`header: "a b" is not a header name`:                 {Header: "a b"},
		`allowed_methods: "put" is no method in upper case`:  {AllowedMethods: []string{"put"}},
		`allowed_methods: "A B" is no method in upper case`:  {AllowedMethods: []string{"A B"}},
		`allowed_methods: a POST must not stand for GET`:     {AllowedMethods: []string{"PUT", "GET"}},
		`allowed_methods: a POST must not stand for CONNECT`: {AllowedMethods: []string{"CONNECT"}},
		`form: needs param`:                                  {Form: true, Param: "off"},
	} {
		if err := m.Check(); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := (middleware.MethodOverride{}).Check(); err != nil {
		t.Error(err)
	}
}
