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
	"github.com/pagi-go/pagi-bridge/pagi/request"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

func ExampleFormBody() {
	app := middleware.FormBody{}.Wrap(pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, w pagi.Send) error {
		fields := s.Value(scopekey.ParsedBody).(request.Values)
		return respond(200, strings.Join(fields.All("color"), " and ")).Serve(ctx, s, r, w)
	}))
	fmt.Println(pagitest.New(app).Post("/", pagitest.Form("color", "red", "color", "light blue")).Text())
	// Output: red and light blue
}

func TestFormBody(t *testing.T) {
	const form = "application/x-www-form-urlencoded"
	for _, c := range []struct {
		name   string
		m      middleware.FormBody
		opts   []pagitest.Option
		status int
		parsed any
		raw    string
	}{
		{"a form", middleware.FormBody{}, []pagitest.Option{contentType(form), pagitest.Body("name=John&age=30&city=New+York")}, 200,
			request.Values{{Name: "name", Value: "John"}, {Name: "age", Value: "30"}, {Name: "city", Value: "New York"}}, "name=John&age=30&city=New+York"},
		{"percent-encoding", middleware.FormBody{}, []pagitest.Option{contentType(form), pagitest.Body("email=test%40example.com&q=%3Cfoo%3E")}, 200,
			request.Values{{Name: "email", Value: "test@example.com"}, {Name: "q", Value: "<foo>"}}, "email=test%40example.com&q=%3Cfoo%3E"},
		{"several values", middleware.FormBody{}, []pagitest.Option{contentType(form + "; charset=UTF-8"), pagitest.Chunks("c=red&", "c=green")}, 200,
			request.Values{{Name: "c", Value: "red"}, {Name: "c", Value: "green"}}, "c=red&c=green"},
		{"an empty form", middleware.FormBody{}, []pagitest.Option{contentType(form), pagitest.Body("")}, 200, request.Values(nil), ""},
		{"malformed percent-encoding", middleware.FormBody{}, []pagitest.Option{contentType(form), pagitest.Body("a=100%")}, 200, request.Values{{Name: "a", Value: "100%"}}, "a=100%"},
		{"refused if strict", middleware.FormBody{Strict: true}, []pagitest.Option{contentType(form), pagitest.Body("a=100%")}, 400, nil, ""},
		{"bytes that are not UTF-8 if strict", middleware.FormBody{Strict: true}, []pagitest.Option{contentType(form), pagitest.Body("a=%FF")}, 400, nil, ""},
		{"JSON", middleware.FormBody{}, []pagitest.Option{pagitest.JSON(1)}, 200, nil, ""},
		{"a multipart form", middleware.FormBody{}, []pagitest.Option{pagitest.Multipart(pagitest.Part{Name: "a", Content: "b"})}, 200, nil, ""},
		{"no type", middleware.FormBody{}, []pagitest.Option{pagitest.Body("a=b")}, 200, nil, ""},
		{"too large", middleware.FormBody{MaxSize: 2}, []pagitest.Option{contentType(form), pagitest.Body("a=b")}, 413, nil, ""},
		{"too large in pieces", middleware.FormBody{MaxSize: 2}, []pagitest.Option{contentType(form), pagitest.Chunks("a=", "b")}, 413, nil, ""},
		{"the default size", middleware.FormBody{}, []pagitest.Option{contentType(form), pagitest.Body("a=" + strings.Repeat("x", 1<<20))}, 413, nil, ""},
		{"too many fields", middleware.FormBody{MaxFields: 2}, []pagitest.Option{contentType(form), pagitest.Body("a&b&c")}, 413, nil, ""},
		{"just not too many", middleware.FormBody{MaxFields: 3}, []pagitest.Option{contentType(form), pagitest.Body("a&b&c")}, 200, request.Values{{Name: "a"}, {Name: "b"}, {Name: "c"}}, "a&b&c"},
		{"the default number", middleware.FormBody{}, []pagitest.Option{contentType(form), pagitest.Body(strings.Repeat("a&", 1000))}, 413, nil, ""},
	} {
		var found bodySeen
		res := pagitest.New(c.m.Wrap(lookAtBody(&found))).Post("/", c.opts...)
		if res.Status != c.status || found.called != (c.status == 200) {
			t.Errorf("%s: %d %v", c.name, res.Status, res.Err)
			continue
		}
		if diff := cmp.Diff(c.parsed, found.parsed); diff != "" || string(found.raw) != c.raw || c.raw != "" && (found.body != c.raw || found.direct != c.raw) {
			t.Errorf("%s: raw %q, received %q, read %q %s", c.name, found.raw, found.body, found.direct, diff)
		}
	}
	if err := (middleware.FormBody{}).Check(); err != nil {
		t.Error(err)
	}
}
