package request_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/request"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

// scope is what a server makes of a browser's request.
func scope(method, target, query string, headers ...string) *pagi.Scope {
	return &pagi.Scope{Type: pagi.TypeHTTP, Method: method, Scheme: "https", Path: target, QueryString: query, Headers: pagi.NewHeaders(headers...)}
}

func ExampleNew() {
	app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		r := request.New(ctx, scope, receive)
		page, err := request.ValueOr(r.Query(), "page", 1)
		if err != nil {
			return err // the server answers 422
		}
		theme, _ := r.Cookie("theme")
		fmt.Println(r.Method(), r.Path(), page, theme)
		return nil
	})
	_ = app.Serve(context.Background(), scope("GET", "/books", "page=3", "cookie", "theme=dark"), nil, nil)
	// Output: GET /books 3 dark
}

func ExampleDecode() {
	var search struct {
		Text  string   `form:"q,required"`
		Limit uint8    `form:"limit,default=20"`
		Tags  []string `form:"tag"`
	}
	r := request.New(context.Background(), scope("GET", "/search", "q=perl&tag=cgi&tag=psgi"), nil)
	fmt.Println(request.Decode(r.Query(), &search), search.Text, search.Limit, search.Tags)

	err := request.Decode(request.ParseValues("limit=1000"), &search)
	var wrong request.FieldErrors
	if errors.As(err, &wrong) {
		for _, field := range wrong {
			fmt.Println(field.Name, field.Problem)
		}
	}
	// Output:
	// <nil> perl 20 [cgi psgi]
	// q is missing
	// limit is too large or too small
}

func ExampleDecodeStrict() {
	var search struct{ Q string }
	fmt.Println(request.DecodeStrict(request.ParseValues("q=perl&p=2"), &search))
	// Output: p: is not known
}

func ExampleValue() {
	id, err := request.Value[int](request.ParseValues("id=7"), "id")
	fmt.Println(id, err)
	_, err = request.Value[int](request.ParseValues("id=seven"), "id")
	fmt.Println(err)
	// Output:
	// 7 <nil>
	// id: must be a whole number
}

func ExampleRequest_Accepts() {
	r := request.New(context.Background(), scope("GET", "/", "", "accept", "text/html, application/json;q=0.9"), nil)
	fmt.Println(r.Accepts("json", "html"))
	// Output: html
}

func ExampleRequest_AcceptsLanguage() {
	r := request.New(context.Background(), scope("GET", "/", "", "accept-language", "de-CH, en;q=0.7"), nil)
	fmt.Println(r.AcceptsLanguage("en", "de"))
	// Output: de
}

func ExampleRequest_AcceptsEncoding() {
	r := request.New(context.Background(), scope("GET", "/", "", "accept-encoding", "gzip, br"), nil)
	fmt.Println(r.AcceptsEncoding("zstd", "gzip"))
	// Output: gzip
}

func ExampleRequest_BasicAuth() {
	r := request.New(context.Background(), scope("GET", "/", "", "authorization", "Basic YW5uOnNlY3JldA=="), nil)
	user, password, ok := r.BasicAuth()
	fmt.Println(user, password, ok)
	// Output: ann secret true
}

func ExampleRequest_URLFor() {
	s := scope("GET", "/login", "", "host", "example.com")
	s.RootPath = "/shop"
	r := request.New(context.Background(), s, nil)
	fmt.Println(r.URLFor("/orders", "year", "2026"))
	// Output: https://example.com/shop/orders?year=2026
}

func ExampleRequest_Cookies() {
	r := request.New(context.Background(), scope("GET", "/", "", "cookie", `a=1; b="two"; a=3`), nil)
	fmt.Println(r.Cookies().All("a"), r.Cookies().Get("b"))
	// Output: [1 3] two
}

func ExampleRequest_Bearer() {
	r := request.New(context.Background(), scope("GET", "/", "", "authorization", "Bearer abc.def"), nil)
	fmt.Println(r.Bearer())
	// Output: abc.def true
}

func ExampleRequest_ClientIP() {
	s := scope("GET", "/", "")
	s.Client = pagi.Addr{Host: "::ffff:192.0.2.7", Port: 4711}
	fmt.Println(request.New(context.Background(), s, nil).ClientIP())
	// Output: 192.0.2.7
}

func ExampleRequest_URL() {
	s := scope("GET", "/a b", "q=1", "host", "example.com")
	fmt.Println(request.New(context.Background(), s, nil).URL())
	// Output: https://example.com/a%20b?q=1
}

func ExampleRequest_Params() {
	s := scope("GET", "/users/7", "").With(scopekey.PathParams, map[string]string{"id": "7"})
	r := request.New(context.Background(), s, nil)
	fmt.Println(request.Value[int](r.Params(), "id"))
	fmt.Println(r.Param("id"))
	// Output:
	// 7 <nil>
	// 7
}

func ExampleRequest_QueryStrict() {
	r := request.New(context.Background(), scope("GET", "/", "rate=100%"), nil)
	fmt.Println(r.Query().Get("rate"))
	_, err := r.QueryStrict()
	fmt.Println(err)
	// Output:
	// 100%
	// pair 1 has a percent sign without two hex digits behind it
}

func ExampleRequest_ContentType() {
	r := request.New(context.Background(), scope("POST", "/", "", "content-type", "Text/Plain; charset=UTF-8"), nil)
	mediaType, params := r.ContentType()
	fmt.Println(mediaType, params["charset"], r.IsJSON())
	// Output: text/plain UTF-8 false
}

func ExampleValues() {
	values := request.ParseValues("tag=a&tag=b&page=2")
	fmt.Println(values.Get("tag"), values.Last("tag"), values.All("tag"), values.Has("none"))
	values.Add("q", "x & y")
	fmt.Println(values.Encode())
	// Output:
	// a b [a b] false
	// tag=a&tag=b&page=2&q=x+%26+y
}

func ExampleAllValues() {
	fmt.Println(request.AllValues[int](request.ParseValues("id=1&id=2"), "id"))
	// Output: [1 2] <nil>
}

func ExampleParseAccept() {
	for _, r := range request.ParseAccept("text/html, text/*;q=0.5") {
		fmt.Println(r.Value, r.Q)
	}
	// Output:
	// text/html 1
	// text/* 0.5
}

func ExampleState() {
	s := scope("GET", "/", "")
	s.State = map[string]any{"greeting": "hello"} // filled at startup
	greeting, ok := request.State[string](request.New(context.Background(), s, nil), "greeting")
	fmt.Println(greeting, ok)
	// Output: hello true
}

func ExampleStashed() {
	r := request.New(context.Background(), scope("GET", "/", ""), nil)
	r.Scope().Stash.Set("app.user", "ann")
	user, ok := request.Stashed[string](r, "app.user")
	fmt.Println(user, ok)
	// Output: ann true
}
