package middleware_test

import (
	"context"
	"errors"
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

func ExampleJSONBody() {
	app := middleware.JSONBody{}.Wrap(pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, w pagi.Send) error {
		person := s.Value(scopekey.ParsedBody).(map[string]any)
		return respond(200, fmt.Sprintf("Hello, %s", person["name"])).Serve(ctx, s, r, w)
	}))
	client := pagitest.New(app)
	fmt.Println(client.Post("/", pagitest.JSON(map[string]string{"name": "Ann"})).Text())
	res := client.Post("/", pagitest.Header("content-type", "application/json"), pagitest.Body("{\n  name\n}"))
	fmt.Println(res.Status, res.Err)
	// Output:
	// Hello, Ann
	// 400 request body: line 2, column 3: invalid character 'n' looking for beginning of object key string
}

func TestJSONBody(t *testing.T) {
	deep := strings.Repeat("[", 201) + strings.Repeat("]", 201)
	for _, c := range []struct {
		name   string
		m      middleware.JSONBody
		method string
		opts   []pagitest.Option
		status int
		parsed any
		raw    string
	}{
		{"an object", middleware.JSONBody{}, "POST", []pagitest.Option{contentType("application/json"), pagitest.Body(`{"name":"John","age":30}`)}, 200,
			map[string]any{"name": "John", "age": 30.0}, `{"name":"John","age":30}`},
		{"a list in pieces", middleware.JSONBody{}, "POST", []pagitest.Option{contentType("application/json"), pagitest.Chunks(`[1,`, ` "x"]`)}, 200, []any{1.0, "x"}, `[1, "x"]`},
		{"null", middleware.JSONBody{}, "POST", []pagitest.Option{contentType("application/json"), pagitest.Body(`null`)}, 200, nil, `null`},
		{"a type with parameters", middleware.JSONBody{}, "PUT", []pagitest.Option{contentType("Application/JSON; charset=utf-8"), pagitest.Body(`1`)}, 200, 1.0, `1`},
		{"a kind of JSON", middleware.JSONBody{}, "POST", []pagitest.Option{contentType("application/vnd.api+json"), pagitest.Body(`{"api":"data"}`)}, 200, map[string]any{"api": "data"}, `{"api":"data"}`},
		{"another type", middleware.JSONBody{}, "POST", []pagitest.Option{contentType("text/plain"), pagitest.Body(`{}`)}, 200, nil, ""},
		{"a type that only begins so", middleware.JSONBody{}, "POST", []pagitest.Option{contentType("application/jsonx"), pagitest.Body(`{}`)}, 200, nil, ""},
		{"own types", middleware.JSONBody{ContentTypes: []string{"text/json"}}, "POST", []pagitest.Option{contentType("text/json"), pagitest.Body(`{}`)}, 200, map[string]any{}, "{}"},
		{"own types only", middleware.JSONBody{ContentTypes: []string{"text/json"}}, "POST", []pagitest.Option{contentType("application/json"), pagitest.Body(`{}`)}, 200, nil, ""},
		{"broken JSON", middleware.JSONBody{}, "POST", []pagitest.Option{contentType("application/json"), pagitest.Body(`not valid json`)}, 400, nil, ""},
		{"broken JSON of an own type", middleware.JSONBody{ContentTypes: []string{"text/json"}}, "POST", []pagitest.Option{contentType("text/json"), pagitest.Body(`{`)}, 400, nil, ""},
		{"two values", middleware.JSONBody{}, "POST", []pagitest.Option{contentType("application/json"), pagitest.Body(`{} {}`)}, 400, nil, ""},
		{"bytes that are not UTF-8", middleware.JSONBody{}, "POST", []pagitest.Option{contentType("application/json"), pagitest.Body("\"\xff\"")}, 400, nil, ""},
		{"an empty body", middleware.JSONBody{}, "POST", []pagitest.Option{contentType("application/json"), pagitest.Body("")}, 400, nil, ""},
		{"GET with a type and no body", middleware.JSONBody{}, "GET", []pagitest.Option{contentType("application/json")}, 200, nil, ""},
		{"DELETE with a body", middleware.JSONBody{}, "DELETE", []pagitest.Option{contentType("application/json"), pagitest.Body("[]")}, 200, []any{}, "[]"},
		{"DELETE with a broken one", middleware.JSONBody{}, "DELETE", []pagitest.Option{contentType("application/json"), pagitest.Body("[")}, 400, nil, ""},
		{"too deep", middleware.JSONBody{}, "POST", []pagitest.Option{contentType("application/json"), pagitest.Body(deep)}, 400, nil, ""},
		{"too deep by the option", middleware.JSONBody{MaxDepth: 2}, "POST", []pagitest.Option{contentType("application/json"), pagitest.Body("[[[]]]")}, 400, nil, ""},
		{"just not too deep", middleware.JSONBody{MaxDepth: 3}, "POST", []pagitest.Option{contentType("application/json"), pagitest.Body("[[[]]]")}, 200, []any{[]any{[]any{}}}, "[[[]]]"},
		{"too large", middleware.JSONBody{MaxSize: 5}, "POST", []pagitest.Option{contentType("application/json"), pagitest.Body(`[1, 2]`)}, 413, nil, ""},
		{"too large in pieces", middleware.JSONBody{MaxSize: 5}, "POST", []pagitest.Option{contentType("application/json"), pagitest.Chunks(`[1,`, ` 2]`)}, 413, nil, ""},
		{"just not too large", middleware.JSONBody{MaxSize: 6}, "POST", []pagitest.Option{contentType("application/json"), pagitest.Body(`[1, 2]`)}, 200, []any{1.0, 2.0}, `[1, 2]`},
		{"the default size", middleware.JSONBody{}, "POST", []pagitest.Option{contentType("application/json"), pagitest.Body(`"` + strings.Repeat("x", 1<<20) + `"`)}, 413, nil, ""},
		{"another type where JSON is required", middleware.JSONBody{Required: true}, "POST", []pagitest.Option{contentType("text/plain"), pagitest.Body(`{}`)}, 415, nil, ""},
		{"a form where JSON is required", middleware.JSONBody{Required: true}, "POST", []pagitest.Option{pagitest.Form("a", "b")}, 415, nil, ""},
		{"a body without a type where JSON is required", middleware.JSONBody{Required: true}, "POST", []pagitest.Option{pagitest.Body(`{}`)}, 415, nil, ""},
		{"no body where JSON is required", middleware.JSONBody{Required: true}, "GET", nil, 200, nil, ""},
		{"another type without a body where JSON is required", middleware.JSONBody{Required: true}, "GET", []pagitest.Option{contentType("text/plain")}, 200, nil, ""},
		{"DELETE of another type where JSON is required", middleware.JSONBody{Required: true}, "DELETE", []pagitest.Option{contentType("text/plain"), pagitest.Body(`{}`)}, 415, nil, ""},
		{"JSON where it is required", middleware.JSONBody{Required: true}, "POST", []pagitest.Option{pagitest.JSON(true)}, 200, true, "true"},
	} {
		var found bodySeen
		res := pagitest.New(c.m.Wrap(lookAtBody(&found))).Do(c.method, "/", c.opts...)
		if res.Status != c.status || found.called != (c.status == 200) {
			t.Errorf("%s: %d %v", c.name, res.Status, res.Err)
			continue
		}
		if diff := cmp.Diff(c.parsed, found.parsed); diff != "" || string(found.raw) != c.raw || c.raw != "" && (found.body != c.raw || found.direct != c.raw) {
			t.Errorf("%s: raw %q, received %q, read %q %s", c.name, found.raw, found.body, found.direct, diff)
		}
	}
	var malformed *request.JSONError
	res := pagitest.New(middleware.JSONBody{}.Wrap(hello)).Post("/", contentType("application/json"), pagitest.Body("{\"a\": [1,\n2,]}"))
	if !errors.As(res.Err, &malformed) || malformed.Line != 2 || malformed.Column != 3 || malformed.Offset != 12 {
		t.Errorf("the place of the fault: %v", res.Err)
	}
	for want, m := range map[string]middleware.JSONBody{
		`max_depth: must be 1 to 10000, is -1`:      {MaxDepth: -1},
		`max_depth: must be 1 to 10000, is 10001`:   {MaxDepth: 10001},
		`content_types: "json" is no media type as`: {ContentTypes: []string{"json"}},
	} {
		if err := m.Check(); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}
