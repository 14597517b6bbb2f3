package apps_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/request"
)

func ExampleCascade() {
	client := pagitest.New(&apps.Cascade{Apps: []pagi.App{
		&apps.File{Root: "testdata/public"},
		named("app"),
	}})
	fmt.Print(client.Get("/hello.txt").Text())
	fmt.Println(client.Get("/page").Text())
	// Output:
	// Hello, world
	// app [] /page
}

// reading answers with status after it has read up to n bytes of the body, and
// with what it has read.
func reading(status int, n int64) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		body, err := io.ReadAll(io.LimitReader(request.BodyReader(ctx, receive), n))
		if err != nil {
			return err
		}
		if err := send(ctx, pagi.HTTPResponseStart{Status: status}); err != nil {
			return err
		}
		return send(ctx, pagi.HTTPResponseBody{Body: body})
	})
}

func TestCascadeCatches(t *testing.T) {
	for name, tc := range map[string]struct {
		catch    []int
		statuses []int
		want     int
	}{
		"404 and 405 by default":    {nil, []int{404, 405, 200, 500}, 200},
		"nothing else":              {nil, []int{403, 200}, 403},
		"the last one stands":       {nil, []int{404, 405}, 405},
		"only what is listed":       {[]int{500}, []int{500, 404, 200}, 404},
		"nothing with an empty one": {[]int{}, []int{404, 200}, 404},
		"a single application":      {nil, []int{404}, 404},
		"none at all":               {nil, nil, 404},
	} {
		c := &apps.Cascade{Catch: tc.catch}
		for _, status := range tc.statuses {
			c.Apps = append(c.Apps, reading(status, 1))
		}
		if res := pagitest.New(c).Get("/"); res.Err != nil || res.Status != tc.want {
			t.Errorf("%s: %d %v, want %d", name, res.Status, res.Err, tc.want)
		}
	}
}

func TestCascadeGivesEachTheWholeBody(t *testing.T) {
	large := strings.Repeat("0123456789", 20_000) // more than stays in memory
	for name, opt := range map[string]pagitest.Option{
		"small":     pagitest.Body("hello"),
		"none":      pagitest.Query(),
		"in pieces": pagitest.Chunks("he", "", "llo"),
		"large":     pagitest.Chunks(large[:100_000], large[100_000:]),
	} {
		want := "hello"
		switch name {
		case "none":
			want = ""
		case "large":
			want = large
		}
		for _, first := range []int64{0, 1, 3, 90_000, 1 << 20} {
			c := &apps.Cascade{Apps: []pagi.App{reading(404, first), reading(404, first*2), reading(405, 1<<20), reading(200, 1<<20)}}
			if res := pagitest.New(c).Post("/", opt); res.Err != nil || res.Text() != want {
				t.Errorf("%s, first read %d: %d bytes of %d, %v", name, first, len(res.Body), len(want), res.Err)
			}
		}
	}
}

func TestCascadeStreamsWhatIsNotCaught(t *testing.T) {
	app := pagi.AppFunc(func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		for _, ev := range []pagi.Event{pagi.HTTPResponseStart{Status: 200}, pagi.HTTPResponseBody{Body: []byte("a"), More: true}, pagi.HTTPResponseBody{Body: []byte("b")}} {
			if err := send(ctx, ev); err != nil {
				return err
			}
		}
		return nil
	})
	if res := pagitest.New(&apps.Cascade{Apps: []pagi.App{app, named("x")}}).Get("/"); res.Err != nil || len(res.Chunks) != 2 {
		t.Errorf("%v %q", res.Err, res.Chunks)
	}
}

func TestCascadePassesErrorsOn(t *testing.T) {
	boom := errors.New("boom")
	c := &apps.Cascade{Apps: []pagi.App{pagi.AppFunc(func(context.Context, *pagi.Scope, pagi.Receive, pagi.Send) error { return boom }), named("x")}}
	if res := pagitest.New(c).Get("/"); !errors.Is(res.Err, boom) {
		t.Errorf("got %v", res.Err)
	}
}

func TestCascadeKeepsTrailers(t *testing.T) {
	var got []pagi.Headers
	read := pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, send pagi.Send) error {
		for {
			ev, err := r(ctx)
			if err != nil {
				return err
			}
			if body := ev.(pagi.HTTPRequest); !body.More {
				got = append(got, body.Trailers)
				break
			}
		}
		return (&apps.NotFound{}).Serve(ctx, s, r, send)
	})
	pagitest.New(&apps.Cascade{Apps: []pagi.App{read, read}}).Post("/", pagitest.Chunks("a"), pagitest.Trailer("x-sum", "1"))
	if len(got) != 2 || got[0].Get("x-sum") != "1" || got[1].Get("x-sum") != "1" {
		t.Errorf("received %v", got)
	}
}

func TestCascadeOfOtherProtocols(t *testing.T) {
	for scopeType, events := range map[string][]pagi.Event{
		pagi.TypeWebSocket: {pagi.WebSocketConnect{}},
		pagi.TypeSSE:       {pagi.SSERequest{Body: []byte("q")}},
	} {
		scope := &pagi.Scope{Type: scopeType, Extensions: map[string]any{pagi.ExtDenialResponse: struct{}{}}}
		first := pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, send pagi.Send) error {
			if _, err := r(ctx); err != nil {
				return err
			}
			return (&apps.NotFound{}).Serve(ctx, s, r, send)
		})
		var got, sent []pagi.Event
		second := pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, send pagi.Send) error {
			ev, err := r(ctx)
			got = append(got, ev)
			return err
		})
		receive := func(context.Context) (pagi.Event, error) {
			ev := events[0]
			events = events[1:]
			return ev, nil
		}
		send := func(_ context.Context, ev pagi.Event) error { sent = append(sent, ev); return nil }
		want := events[0].EventType()
		if err := (&apps.Cascade{Apps: []pagi.App{first, second}}).Serve(t.Context(), scope, receive, send); err != nil {
			t.Fatal(err)
		}
		if len(got) != 1 || got[0].EventType() != want || len(sent) > 0 {
			t.Errorf("%s: received %v, sent %v", scopeType, got, sent)
		}
	}
}

func TestCascadeLifespan(t *testing.T) {
	bad := &lifeApp{name: "bad", log: new([]string), fail: errors.New("no")}
	if err := pagitest.New(&apps.Cascade{Apps: []pagi.App{named("a"), bad, bad}}).Startup(t.Context()); err == nil || err.Error() != "startup failed: cascade[1]: no" {
		t.Errorf("got %v", err)
	}
}
