package endpoint_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/endpoint"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/request"
	"github.com/pagi-go/pagi-bridge/pagi/response"
	"github.com/pagi-go/pagi-bridge/pagi/sse"
	"github.com/pagi-go/pagi-bridge/pagi/websocket"
)

// shop is an application of functions.
type shop struct{ items map[string]string }

func (s *shop) item(c *endpoint.Context) (*response.Response, error) {
	item, ok := s.items[c.Param("id")]
	if !ok {
		return nil, &pagi.StatusError{Status: 404, Message: "no such item"}
	}
	return response.Text(item), nil
}

func (s *shop) add(c *endpoint.Context) (*response.Response, error) {
	user, _ := request.Stashed[string](c.Request, "user")
	s.items[c.Param("id")] = c.Query().Get("name") + " by " + user
	return response.Text("added").Status(201), nil
}

// login lets only requests with a token pass, and tells the function who asks.
func login(next endpoint.Func) endpoint.Func {
	return func(c *endpoint.Context) (*response.Response, error) {
		if c.Header("x-token") == "" {
			return response.Text("who are you?").Status(401), nil
		}
		c.Stash().Set("user", c.Header("x-token"))
		return next(c)
	}
}

func ExampleRouter() {
	s := &shop{items: map[string]string{"1": "tea"}}
	r := &endpoint.Router{}
	r.Get("/items/{id:[0-9]+}", s.item).Name("item")
	r.With(login).Put("/items/{id:[0-9]+}", s.add)
	if err := r.Check(); err != nil {
		fmt.Println(err)
	}

	client := pagitest.New(r)
	fmt.Println(client.Put("/items/2?name=cake").Text())
	fmt.Println(client.Put("/items/2?name=cake", pagitest.Header("x-token", "ann")).Text())
	fmt.Println(client.Get("/items/2").Text())
	fmt.Println(r.URL("item", "id", "2"))
	// Output:
	// who are you?
	// added
	// cake by ann
	// /items/2 <nil>
}

// mark is a Middleware that adds a header to the response on its way back.
func mark(name string) endpoint.Middleware {
	return func(next endpoint.Func) endpoint.Func {
		return func(c *endpoint.Context) (*response.Response, error) {
			r, err := next(c)
			if r != nil {
				r.AddHeader("x-mark", name)
			}
			return r, err
		}
	}
}

// tag does the same as a middleware of events.
func tag(name string) pagi.Middleware {
	return pagi.MiddlewareFunc(func(next pagi.App) pagi.App {
		return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
			return next.Serve(ctx, scope, receive, func(ctx context.Context, ev pagi.Event) error {
				ev, _, err := reply.EditStart(ev, func(h pagi.Headers) (pagi.Headers, error) {
					return append(h.Clone(), pagi.Header{Name: "x-mark", Value: name}), nil
				})
				return errors.Join(err, send(ctx, ev))
			})
		})
	})
}

func marks(headers pagi.Headers) (all []string) {
	for _, h := range headers {
		if h.Name == "x-mark" {
			all = append(all, h.Value)
		}
	}
	return all
}

func TestRouterOfFunctions(t *testing.T) {
	tell := func(name string) endpoint.Func {
		return func(c *endpoint.Context) (*response.Response, error) {
			text := name
			for _, p := range c.Params() {
				text += " " + p.Name + "=" + p.Value
			}
			return response.Text(text), nil
		}
	}
	below := &endpoint.Router{}
	below.Get("/", tell("below")).Name("root")
	r := &endpoint.Router{}
	r.Get("/get/{id}", tell("get"))
	r.Post("/get/:id", tell("post"), mark("a"), mark("b"))
	r.Put("/put", tell("put"))
	r.Patch("/patch", tell("patch"))
	r.Delete("/delete", tell("delete"))
	r.Head("/head", tell("head"))
	r.Options("/options", tell("options"))
	r.Any("/any", tell("any"))
	r.Handle("PROPFIND", "/dav/*path", tell("dav"))
	r.Endpoint("/resource", endpoint.HTTP{Get: tell("resource")})
	r.Endpoint("/plain", tell("plain"), tag("plain"))
	r.Mount("/below", below, tag("mount")).Name("below")
	r.Group("/group/", func(g *endpoint.RouteGroup) {
		g.Get("", tell("group"))
		with := g.With(mark("with"))
		with.Get("/{x}", tell("with"), mark("own"))
		with.Group("/inner", func(g *endpoint.RouteGroup) { g.Get("/x", tell("inner")) }, tag("inner"))
		g.Get("/after/with", tell("after"))
	}, tag("group"))
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	c := pagitest.New(r)
	for _, tc := range []struct{ method, target, want, marks string }{
		{"GET", "/get/7", "200 get id=7", "[]"}, {"POST", "/get/7", "200 post id=7", "[b a]"}, {"PUT", "/put", "200 put", "[]"}, {"PATCH", "/patch", "200 patch", "[]"},
		{"DELETE", "/delete", "200 delete", "[]"}, {"OPTIONS", "/options", "200 options", "[]"}, {"PURGE", "/any", "200 any", "[]"}, {"PROPFIND", "/dav/a/b", "200 dav path=a/b", "[]"},
		{"GET", "/resource", "200 resource", "[]"}, {"POST", "/resource", "405 Method Not Allowed\n", "[]"}, {"GET", "/plain", "200 plain", "[plain]"}, {"GET", "/below", "200 below", "[mount]"},
		{"GET", "/group", "200 group", "[group]"}, {"GET", "/group/1", "200 with x=1", "[own with group]"}, {"GET", "/group/inner/x", "200 inner", "[with inner group]"},
		{"GET", "/group/after/with", "200 after", "[group]"}, {"GET", "/nope", "404 Not Found\n", "[]"}, {"DELETE", "/get/7", "405 Method Not Allowed\n", "[]"}, {"OPTIONS", "/get/7", "204 ", "[]"},
	} {
		res := c.Do(tc.method, tc.target)
		if res.Err != nil || fmt.Sprint(res.Status, " ", res.Text()) != tc.want || fmt.Sprint(marks(res.Headers)) != tc.marks {
			t.Errorf("%s %s: %d %q %v %v", tc.method, tc.target, res.Status, res.Text(), marks(res.Headers), res.Err)
		}
	}
	if res := c.Head("/head"); res.Err != nil || res.Header("content-length") != "4" {
		t.Errorf("HEAD: %v %v", res.Headers, res.Err)
	}
	if got, err := r.URL("below.root"); got != "/below/" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if n := len(r.Routes()); n != 17 {
		t.Errorf("%d routes", n)
	}
}

func TestRouterOfStreams(t *testing.T) {
	r := &endpoint.Router{}
	r.WebSocket("/ws/{room}", func(conn *websocket.Conn) error {
		return errors.Join(conn.Accept(websocket.Accept{}), conn.SendText("room "+conn.Request().Param("room")), conn.Close(0, ""))
	}, tag("ws"))
	r.SSE("/events/{channel}", func(s *sse.Stream) error { return s.SendData("channel " + s.Request().Param("channel")) }, tag("sse"))
	r.Endpoint("/both", endpoint.SSE{Connect: func(s *sse.Stream) error { return errors.Join(s.SendData("both"), s.Close("")) }})
	r.Endpoint("/both", endpoint.WebSocket[string]{Receive: func(conn *websocket.Conn, text string) error { return conn.SendText("both " + text) }})
	r.Endpoint("/both", endpoint.HTTP{Get: says("both")})
	if err := r.Check(); err != nil {
		t.Fatal(err)
	}
	c := pagitest.New(r)
	ws := c.WebSocket("/ws/a")
	if text, err := ws.ReceiveText(); text != "room a" || err != nil || fmt.Sprint(marks(ws.Headers)) != "[ws]" {
		t.Errorf("%q, %v, %v", text, marks(ws.Headers), err)
	}
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
	ws = c.WebSocket("/both")
	if err := ws.SendText("x"); err != nil {
		t.Error(err)
	}
	if text, err := ws.ReceiveText(); text != "both x" || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
	for target, want := range map[string]string{"/events/a": "data: channel a\n\n", "/both": "data: both\n\n"} {
		if res := c.Events(target).Finish(); res.Err != nil || res.Text() != want {
			t.Errorf("%s: %q %v", target, res.Text(), res.Err)
		}
	}
	if res := c.Get("/both"); res.Err != nil || res.Text() != "both GET" {
		t.Errorf("%q %v", res.Text(), res.Err)
	}
	if refused := c.WebSocket("/nope"); refused.Accepted || refused.Finish() != nil {
		t.Error("a WebSocket without a route is accepted")
	}
}

func TestRouterOfFunctionsHasItsOwnAnswers(t *testing.T) {
	r := &endpoint.Router{
		NotFound: says("nothing"),
		MethodNotAllowed: endpoint.Func(func(c *endpoint.Context) (*response.Response, error) {
			return response.Text("use " + endpoint.AllowedMethods(c.Scope())).Status(405), nil
		}),
		RedirectSlash: true,
	}
	r.Get("/x", says("x"))
	c := pagitest.New(r)
	for target, want := range map[string]string{"/y": "200 nothing POST", "/x": "405 use GET, HEAD, OPTIONS"} {
		if res := c.Post(target); res.Err != nil || fmt.Sprint(res.Status, " ", res.Text()) != want {
			t.Errorf("%s: %d %q %v", target, res.Status, res.Text(), res.Err)
		}
	}
	if res := c.Get("/x/"); res.Status != 301 || res.Header("location") != "../x" {
		t.Errorf("%d %v", res.Status, res.Headers)
	}
	if res := c.Get("/y", pagitest.AcceptEvents()); res.Err != nil || res.Text() != "nothing GET" {
		t.Errorf("an event stream: %q %v", res.Text(), res.Err)
	}
}

func TestRouterOfFunctionsCheck(t *testing.T) {
	swallow := func(endpoint.Func) endpoint.Func { return nil }
	for want, add := range map[string]func(r *endpoint.Router){
		"GET /a has no application":         func(r *endpoint.Router) { r.Get("/a", nil, mark("x")) },
		"POST /a has no application":        func(r *endpoint.Router) { r.Post("/a", says(""), swallow) },
		"websocket /a has no application":   func(r *endpoint.Router) { r.WebSocket("/a", nil) },
		"sse /a has no application":         func(r *endpoint.Router) { r.SSE("/a", nil) },
		"any /a has no application":         func(r *endpoint.Router) { r.Endpoint("/a", nil) },
		"GET /{a} and GET /{b} are the":     func(r *endpoint.Router) { r.Get("/{a}", says("")); r.Get("/{b}", says("")) },
		"any /a: endpoint: no method has a": func(r *endpoint.Router) { r.Endpoint("/a", endpoint.HTTP{}) },
	} {
		r := &endpoint.Router{}
		add(r)
		if err := r.Check(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if res := pagitest.New(r).Get("/"); res.Err == nil && !strings.Contains(want, "no method") {
			t.Errorf("%s: it serves", want)
		}
		_, err := r.URL("x")
		if err == nil {
			t.Errorf("%s: a URL", want)
		}
	}
}

func TestARouteThatForgetsItsResponseFails(t *testing.T) {
	r := &endpoint.Router{}
	r.Get("/x", says("x"), func(next endpoint.Func) endpoint.Func {
		return func(c *endpoint.Context) (*response.Response, error) {
			_, err := next(c)
			return nil, err
		}
	})
	if res := pagitest.New(r).Get("/x"); !errors.Is(res.Err, endpoint.ErrNoResponse) {
		t.Error(res.Err)
	}
	var paths []string
	for _, route := range r.Routes() {
		paths = append(paths, route.Method+" "+route.Pattern)
	}
	if diff := cmp.Diff([]string{"GET /x"}, paths); diff != "" {
		t.Error(diff)
	}
}
