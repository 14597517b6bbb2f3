package endpoint_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/endpoint"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/response"
)

// says returns a function that answers with a text and the method.
func says(text string) endpoint.Func {
	return func(c *endpoint.Context) (*response.Response, error) {
		return response.Text(text + " " + c.Scope().Method), nil
	}
}

func TestHTTPCallsTheFunctionOfTheMethod(t *testing.T) {
	some := endpoint.HTTP{Get: says("get"), Post: says("post"), Delete: says("delete")}
	all := endpoint.HTTP{Get: says("get"), Head: says("head"), Post: says("post"), Put: says("put"), Patch: says("patch"), Delete: says("delete"), Options: says("options")}
	for _, c := range []struct {
		app    endpoint.HTTP
		method string
		status int
		want   string // the text, or the header allow
	}{
		{some, "GET", 200, "get GET"}, {some, "POST", 200, "post POST"}, {some, "DELETE", 200, "delete DELETE"},
		{some, "PUT", 405, "DELETE, GET, HEAD, OPTIONS, POST"}, {some, "PROPFIND", 405, "DELETE, GET, HEAD, OPTIONS, POST"}, {some, "OPTIONS", 204, "DELETE, GET, HEAD, OPTIONS, POST"},
		{all, "GET", 200, "get GET"}, {all, "POST", 200, "post POST"}, {all, "PUT", 200, "put PUT"}, {all, "PATCH", 200, "patch PATCH"}, {all, "OPTIONS", 200, "options OPTIONS"},
		{all, "TRACE", 405, "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"}, {endpoint.HTTP{Head: says("head")}, "GET", 405, "HEAD, OPTIONS"},
		{endpoint.HTTP{}, "GET", 405, "OPTIONS"}, {endpoint.HTTP{Post: says("post")}, "HEAD", 405, "OPTIONS, POST"},
	} {
		res := pagitest.New(c.app).Do(c.method, "/")
		got := res.Text()
		if c.status != 200 {
			got = res.Header("allow")
		}
		if res.Err != nil || res.Status != c.status || got != c.want {
			t.Errorf("%s: %d %q %v", c.method, res.Status, got, res.Err)
		}
	}
	for length, app := range map[string]endpoint.HTTP{"8": some, "9": all} { // "get HEAD", "head HEAD"
		if res := pagitest.New(app).Head("/"); res.Err != nil || res.Status != 200 || res.Header("content-length") != length || len(res.Body) > 0 {
			t.Errorf("HEAD: %d %s %v", res.Status, res.Header("content-length"), res.Err)
		}
	}
	nothing := endpoint.HTTP{Get: func(*endpoint.Context) (*response.Response, error) { return nil, nil }}
	if res := pagitest.New(nothing).Get("/"); !errors.Is(res.Err, endpoint.ErrNoResponse) {
		t.Errorf("a function that returns nothing: %v", res.Err)
	}
	for _, kind := range []string{pagi.TypeSSE, pagi.TypeWebSocket, pagi.TypeLifespan} {
		if err := all.Serve(t.Context(), &pagi.Scope{Type: kind}, nil, nil); !errors.Is(err, pagi.ErrUnsupported) {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestHTTPCheck(t *testing.T) {
	if err := (endpoint.HTTP{}).Check(); err == nil || !strings.Contains(err.Error(), "no method has a function") {
		t.Error(err)
	}
	for _, app := range []endpoint.HTTP{{Get: says("")}, {Options: says("")}} {
		if err := app.Check(); err != nil {
			t.Error(err)
		}
	}
	if got := (endpoint.HTTP{Patch: says("")}).Allowed(); !slices.Equal(got, []string{"OPTIONS", "PATCH"}) {
		t.Errorf("%q", got)
	}
}

// counter is a resource with a function for each method.
type counter struct{ n int }

func (c *counter) show(*endpoint.Context) (*response.Response, error) {
	return response.JSON(c.n), nil
}

func (c *counter) add(*endpoint.Context) (*response.Response, error) {
	c.n++
	return response.JSON(c.n).Status(201), nil
}

func ExampleHTTP() {
	c := &counter{}
	client := pagitest.New(endpoint.HTTP{Get: c.show, Post: c.add})
	client.Post("/")
	fmt.Println(client.Get("/").Text())
	res := client.Delete("/")
	fmt.Println(res.Status, res.Header("allow"))
	// Output:
	// 1
	// 405 GET, HEAD, OPTIONS, POST
}
