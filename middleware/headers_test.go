package middleware_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

func ExampleHeaders() {
	app := middleware.Headers{Response: middleware.HeaderEdits{
		Set: map[string]string{"Cache-Control": "no-store"}, Unset: []string{"X-Powered-By"}}}.Wrap(hello)
	fmt.Println(pagitest.New(app).Get("/").Header("cache-control"))
	// Output: no-store
}

func TestHeaders(t *testing.T) {
	type list = map[string]string
	for name, tc := range map[string]struct {
		edits middleware.HeaderEdits
		want  string
	}{
		"nothing":                  {middleware.HeaderEdits{}, "a=1 a=2 x-internal-a=3 b=4"},
		"unset":                    {middleware.HeaderEdits{Unset: []string{"A"}}, "x-internal-a=3 b=4"},
		"unset by a pattern":       {middleware.HeaderEdits{Unset: []string{"X-Internal-*"}}, "a=1 a=2 b=4"},
		"set":                      {middleware.HeaderEdits{Set: list{"A": "5"}}, "a=5 x-internal-a=3 b=4"},
		"set a new one":            {middleware.HeaderEdits{Set: list{"N": "5", "M": "6"}}, "a=1 a=2 x-internal-a=3 b=4 m=6 n=5"},
		"default":                  {middleware.HeaderEdits{Default: list{"a": "5", "n": "5"}}, "a=1 a=2 x-internal-a=3 b=4 n=5"},
		"add":                      {middleware.HeaderEdits{Add: list{"b": "5"}}, "a=1 a=2 x-internal-a=3 b=4 b=5"},
		"unset goes before set":    {middleware.HeaderEdits{Unset: []string{"*-a", "a"}, Set: list{"a": "5"}}, "b=4 a=5"},
		"default comes before add": {middleware.HeaderEdits{Default: list{"n": "5"}, Add: list{"n": "6"}}, "a=1 a=2 x-internal-a=3 b=4 n=5 n=6"},
	} {
		text := func(h pagi.Headers) string {
			var all []string
			for _, x := range h {
				all = append(all, x.Name+"="+x.Value)
			}
			return strings.Join(all, " ")
		}
		headers := pagi.NewHeaders("a", "1", "a", "2", "x-internal-a", "3", "b", "4")
		m := middleware.Headers{Request: tc.edits, Response: tc.edits}
		if err := m.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, start := range []pagi.Event{pagi.HTTPResponseStart{Status: 200, Headers: headers}, pagi.SSEStart{Headers: headers}, pagi.WebSocketAccept{Headers: headers}} {
			var request, response string
			app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
				request = text(scope.Headers)
				return send(ctx, start)
			})
			send := func(_ context.Context, ev pagi.Event) error {
				switch e := ev.(type) {
				case pagi.HTTPResponseStart:
					response = text(e.Headers)
				case pagi.SSEStart:
					response = text(e.Headers)
				case pagi.WebSocketAccept:
					response = text(e.Headers)
				}
				return nil
			}
			if err := m.Wrap(app).Serve(t.Context(), &pagi.Scope{Type: pagi.TypeHTTP, Headers: headers}, nil, send); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff([]string{tc.want, tc.want}, []string{request, response}); diff != "" {
				t.Errorf("%s, %s: %s", name, start.EventType(), diff)
			}
		}
		if len(headers) != 4 || headers[0].Value != "1" {
			t.Errorf("%s: the application's own headers were changed: %v", name, headers)
		}
	}
}

func TestHeadersOptions(t *testing.T) {
	for want, e := range map[string]middleware.HeaderEdits{
		`response: "a b" is not a header name`:                                                       {Unset: []string{"a b"}},
		`response: "x\r\nset-cookie: y" must not contain control characters`:                         {Set: map[string]string{"a": "x\r\nset-cookie: y"}},
		`response: content-length must not be changed, because it belongs to the connection`:         {Add: map[string]string{"Content-Length": "1"}},
		`response: transfer-encoding must not be changed, because it belongs to the connection`:      {Unset: []string{"Transfer-*"}},
		`response: "x-*": only unset takes a *`:                                                      {Default: map[string]string{"x-*": "1"}},
		`response: sec-websocket-protocol must not be changed, because it belongs to the connection`: {Unset: []string{"sec-websocket-p*"}},
	} {
		checkFails(t, middleware.Headers{Response: e}, want)
		checkFails(t, middleware.Headers{Request: e}, strings.Replace(want, "response: ", "request: ", 1))
	}
}
