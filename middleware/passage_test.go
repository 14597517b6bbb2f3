package middleware

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// marking is a middleware that leaves its name in the headers of requests and responses.
type marking struct {
	name string
	kept *[]*pagi.Scope // gets the scopes that it has seen; nil: it does not keep them
}

func (marking) Check() error { return nil }

func (m marking) Wrap(next pagi.App) pagi.App {
	on := onward(next)
	return wrapPassage(m, next, func(ctx context.Context, p passage) error {
		if m.kept != nil {
			*m.kept = append(*m.kept, p.keep())
		}
		p.changeHeaders().Add("x-in", m.name)
		p.change().RootPath += "/" + m.name
		p.edit(edit{func(b beginning, text string) beginning {
			b.own()
			b.headers.Add("x-out", text)
			return b
		}, m.name}, 1)
		return on(ctx, p)
	})
}

// foreign is a middleware that is no layer, and notes the order of x-out in what passes it.
func foreign(seen *[]string) pagi.Middleware {
	return pagi.MiddlewareFunc(func(next pagi.App) pagi.App {
		return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
			return next.Serve(ctx, scope, receive, func(ctx context.Context, ev pagi.Event) error {
				if start, is := ev.(pagi.HTTPResponseStart); is {
					*seen = slices.Collect(start.Headers.Values("x-out"))
				}
				return send(ctx, ev)
			})
		})
	})
}

func TestAPassageChangesWhatSeparateMiddlewareWouldChange(t *testing.T) {
	var stack []pagi.Middleware
	var in, out []string
	var between []string
	for i := range 25 {
		name := fmt.Sprint(i)
		in, out = append(in, name), append(out, name)
		stack = append(stack, marking{name: name})
		if i == 11 {
			stack = append(stack, foreign(&between))
		}
	}
	slices.Reverse(out)
	given := pagi.NewHeaders("x-out", "app")
	var sawIn []string
	var root string
	app := pagi.Chain(pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		sawIn, root = slices.Collect(scope.Headers.Values("x-in")), scope.RootPath
		return send(ctx, pagi.HTTPResponseStart{Status: 200, Headers: given})
	}), stack...)
	scope := &pagi.Scope{Type: pagi.TypeHTTP, Headers: make(pagi.Headers, 0, 50)}
	var sent []string
	err := app.Serve(t.Context(), scope, nil, func(_ context.Context, ev pagi.Event) error {
		sent = slices.Collect(ev.(pagi.HTTPResponseStart).Headers.Values("x-out"))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, sawIn); diff != "" {
		t.Error("the request's headers", diff)
	}
	if diff := cmp.Diff(append([]string{"app"}, out...), sent); diff != "" {
		t.Error("the response's headers", diff)
	}
	if diff := cmp.Diff(append([]string{"app"}, out[:13]...), between); diff != "" {
		t.Error("what a foreign middleware saw", diff)
	}
	if want := "/0/1/2"; root[:len(want)] != want {
		t.Errorf("the root path is %q", root)
	}
	if len(scope.Headers) != 0 || scope.RootPath != "" || len(scope.Headers[:1][0].Name) != 0 {
		t.Errorf("the server's scope was changed: %+v", scope)
	}
	if diff := cmp.Diff(pagi.NewHeaders("x-out", "app"), given); diff != "" {
		t.Error("the application's headers were changed", diff)
	}
}

func TestAScopeThatALayerKeepsStaysAsItWas(t *testing.T) {
	var kept []*pagi.Scope
	app := pagi.Chain(pagi.AppFunc(func(context.Context, *pagi.Scope, pagi.Receive, pagi.Send) error { return nil }),
		marking{name: "0"}, marking{"1", &kept}, marking{name: "2"}, marking{"3", &kept}, marking{name: "4"})
	if err := app.Serve(t.Context(), &pagi.Scope{Type: pagi.TypeHTTP}, nil, nil); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"/0", "/0/1/2"} {
		if got := kept[i].RootPath; got != want || len(kept[i].Headers) != 1+2*i {
			t.Errorf("%q %v, want the root path %q", got, kept[i].Headers, want)
		}
	}
}

func TestAPassageEditsTheBeginningsOfAllProtocols(t *testing.T) {
	for _, c := range []struct {
		scope string
		event func(pagi.Headers) pagi.Event
	}{
		{pagi.TypeHTTP, func(h pagi.Headers) pagi.Event { return pagi.HTTPResponseStart{Status: 200, Headers: h} }},
		{pagi.TypeSSE, func(h pagi.Headers) pagi.Event { return pagi.SSEStart{Headers: h} }},
		{pagi.TypeSSE, func(h pagi.Headers) pagi.Event { return pagi.SSEHTTPResponseStart{Status: 404, Headers: h} }},
		{pagi.TypeWebSocket, func(h pagi.Headers) pagi.Event { return pagi.WebSocketAccept{Headers: h} }},
		{pagi.TypeWebSocket, func(h pagi.Headers) pagi.Event { return pagi.WebSocketHTTPResponseStart{Status: 404, Headers: h} }},
	} {
		given := pagi.NewHeaders("x", "y")
		app := pagi.Chain(pagi.AppFunc(func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
			return send(ctx, c.event(given))
		}),
			marking{name: "1"}, marking{name: "2"})
		var got pagi.Event
		if err := app.Serve(t.Context(), &pagi.Scope{Type: c.scope}, nil, func(_ context.Context, ev pagi.Event) error { got = ev; return nil }); err != nil {
			t.Fatal(err)
		}
		want := c.event(pagi.NewHeaders("x", "y", "x-out", "2", "x-out", "1"))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(want.EventType(), diff)
		}
	}
}

func TestWhatTenMiddlewareAllocate(t *testing.T) {
	start := pagi.Event(pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-type", "text/plain", "content-length", "11")})
	body := pagi.Event(pagi.HTTPResponseBody{Body: []byte("Hello World")})
	app := pagi.App(pagi.AppFunc(func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		if err := send(ctx, start); err != nil {
			return err
		}
		return send(ctx, body)
	}))
	app = pagi.Chain(app, ReverseProxy{}, RequestID{}, SecurityHeaders{}, Headers{Response: HeaderEdits{Set: map[string]string{"x-served-by": "test"}}},
		CORS{Origins: []string{"https://example.com"}}, GZip{}, Head{}, Healthcheck{}, ConditionalGet{}, ETag{})
	scope := &pagi.Scope{Type: pagi.TypeHTTP, Method: "GET", Path: "/", Headers: pagi.NewHeaders("host", "localhost"), Notes: &pagi.LogNotes{}}
	send := func(context.Context, pagi.Event) error { return nil }
	ctx := t.Context()
	n := testing.AllocsPerRun(100, func() {
		scope.Notes.Clear()
		_ = app.Serve(ctx, scope, nil, send) // never fails
	})
	if n > 17 { // 16, and one with the race detector
		t.Errorf("%v allocations", n)
	}
}
