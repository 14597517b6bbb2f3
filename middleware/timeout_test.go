package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

func ExampleTimeout() {
	slow := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Minute):
			return hello.Serve(ctx, scope, receive, send)
		}
	})
	res := pagitest.New(middleware.Timeout{Timeout: 10 * time.Millisecond}.Wrap(slow)).Get("/")
	fmt.Println(res.Status, res.Text())
	// Output: 504 The server has taken too long.
}

const (
	soon = 20 * time.Millisecond
	// enough is a limit within which an application sends a few events, on a busy machine too.
	enough = 15 * soon
)

// after returns an application that sends events, waits for its context to end or for wait, and then
// sends late. It returns the error of that Send.
func after(wait time.Duration, events []pagi.Event, late ...pagi.Event) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		for _, ev := range events {
			if err := send(ctx, ev); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
		for _, ev := range late {
			if err := send(context.WithoutCancel(ctx), ev); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestTimeout(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	start := func(pairs ...string) pagi.Event {
		return pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders(pairs...)}
	}
	piece := func(s string, more bool) pagi.Event { return pagi.HTTPResponseBody{Body: []byte(s), More: more} }
	events := func(e ...pagi.Event) []pagi.Event { return e }
	for name, c := range map[string]struct {
		m      middleware.Timeout
		app    pagi.App
		status int
		body   string
		cut    bool
	}{
		"an answer in time":                        {middleware.Timeout{}, after(0, nil, start(), piece("x", false)), 200, "x", false},
		"nothing was sent":                         {middleware.Timeout{Timeout: soon}, after(testkit.Patience, nil, start(), piece("x", false)), 504, "The server has taken too long.\n", false},
		"an interim response was sent":             {middleware.Timeout{Timeout: soon}, after(testkit.Patience, events(pagi.HTTPResponseInformational{Status: 103}), start(), piece("x", false)), 504, "The server has taken too long.\n", false},
		"a part was sent":                          {middleware.Timeout{Timeout: enough}, after(testkit.Patience, events(start(), piece("x", true)), piece("y", false)), 200, "x", true},
		"all was sent":                             {middleware.Timeout{Timeout: enough}, after(2*enough, events(start(), piece("x", false))), 200, "x", false},
		"all was sent as a file":                   {middleware.Timeout{Timeout: enough}, after(2*enough, events(start(), pagi.HTTPResponseBody{File: file, Length: pagi.ToEnd})), 200, "data", false},
		"all was sent with trailers":               {middleware.Timeout{Timeout: enough}, after(2*enough, events(pagi.HTTPResponseStart{Status: 200, Trailers: true}, piece("x", false), pagi.HTTPResponseTrailers{})), 200, "x", false},
		"only the trailers are missing":            {middleware.Timeout{Timeout: enough}, after(testkit.Patience, events(pagi.HTTPResponseStart{Status: 200, Trailers: true}, piece("x", false)), pagi.HTTPResponseTrailers{}), 200, "x", true},
		"only the start counts":                    {middleware.Timeout{Timeout: enough, Until: "start"}, after(2*enough, events(start(), piece("x", true)), piece("y", false)), 200, "xy", false},
		"the start counts":                         {middleware.Timeout{Timeout: soon, Until: "start"}, after(testkit.Patience, nil, start(), piece("x", false)), 504, "", false},
		"a response that is a stream of events":    {middleware.Timeout{Timeout: enough}, after(2*enough, events(start("content-type", "Text/Event-Stream; charset=utf-8"), piece("x", true)), piece("y", false)), 200, "xy", false},
		"a stream of events that is to be limited": {middleware.Timeout{Timeout: enough, Streams: true}, after(testkit.Patience, events(start("content-type", "text/event-stream"), piece("x", true)), piece("y", false)), 200, "x", true},
	} {
		res := pagitest.New(c.m.Wrap(c.app)).Get("/")
		if res.Status != c.status || !strings.HasPrefix(res.Text(), c.body) || (res.Err != nil) != c.cut {
			t.Errorf("%s: %d %q %v", name, res.Status, res.Text(), res.Err)
		}
	}
}

func TestTimeoutOfStreams(t *testing.T) {
	streamFor := func(wait time.Duration) pagi.App {
		return after(wait, []pagi.Event{pagi.SSEStart{}, pagi.SSESend{Data: "x"}}, pagi.SSESend{Data: "y"}, pagi.SSEClose{})
	}
	if res := pagitest.New(middleware.Timeout{Timeout: soon}.Wrap(streamFor(2 * soon))).Events("/").Finish(); res.Err != nil || !strings.Contains(res.Text(), "data: y") {
		t.Errorf("an event stream: %q %v", res.Text(), res.Err)
	}
	if res := pagitest.New(middleware.Timeout{Timeout: enough, Streams: true}.Wrap(streamFor(testkit.Patience))).Events("/").Finish(); strings.Contains(res.Text(), "data: y") {
		t.Errorf("an event stream that is limited: %q", res.Text())
	}
	late := after(testkit.Patience, nil, pagi.SSEStart{}, pagi.SSEClose{})
	if res := pagitest.New(middleware.Timeout{Timeout: soon, Streams: true}.Wrap(late)).Events("/").Finish(); res.Status != 504 || res.Err != nil {
		t.Errorf("an event stream that has not begun: %d %v", res.Status, res.Err)
	}
	for streams, accepted := range map[bool]bool{false: true, true: false} {
		wait := testkit.Patience
		if accepted {
			wait = 2 * soon
		}
		socket := after(wait, nil, pagi.WebSocketAccept{}, pagi.WebSocketClose{})
		ws := pagitest.New(middleware.Timeout{Timeout: soon, Streams: streams}.Wrap(socket)).WebSocket("/")
		if ws.Accepted != accepted || !accepted && ws.Response.Status != 504 {
			t.Errorf("a WebSocket, limited %v: accepted %v", streams, ws.Accepted)
		}
		if err := ws.Finish(); err != nil {
			t.Error(err)
		}
	}
}

func TestTimeoutTellsTheApplication(t *testing.T) {
	var cause, sent error
	var told atomic.Int32
	returned := false
	app := pagi.AppFunc(func(ctx context.Context, _ *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		for {
			if _, err := receive(ctx); err != nil {
				break
			}
		}
		<-ctx.Done()
		cause = context.Cause(ctx)
		sent = send(ctx, pagi.HTTPResponseStart{Status: 200})
		returned = true
		return errors.New("its own")
	})
	m := middleware.Timeout{Timeout: soon, OnTimeout: func(scope *pagi.Scope) {
		if scope.Path == "/slow" {
			told.Add(1)
		}
	}}
	err := m.Wrap(app).Serve(t.Context(), &pagi.Scope{Type: pagi.TypeHTTP, Method: "GET", Path: "/slow"},
		func(ctx context.Context) (pagi.Event, error) {
			<-ctx.Done()
			return nil, context.Cause(ctx)
		}, func(context.Context, pagi.Event) error { return nil })
	var status *pagi.StatusError
	if !errors.As(cause, &status) || status.Status != 504 || !errors.Is(cause, context.DeadlineExceeded) || sent != cause || err != nil || !returned || told.Load() != 1 {
		t.Errorf("cause %v, send %v, result %v, told %d", cause, sent, err, told.Load())
	}
}

func TestTimeoutOfAnApplicationThatDoesNotLook(t *testing.T) {
	got := make(chan pagi.Event, 10)
	finished := make(chan struct{})
	app := middleware.Timeout{Timeout: soon}.Wrap(pagi.AppFunc(func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		<-finished
		return send(ctx, pagi.HTTPResponseStart{Status: 200})
	}))
	done := make(chan error)
	go func() {
		done <- app.Serve(t.Context(), &pagi.Scope{Type: pagi.TypeHTTP}, nil, func(_ context.Context, ev pagi.Event) error { got <- ev; return nil })
	}()
	if start, is := (<-got).(pagi.HTTPResponseStart); !is || start.Status != 504 {
		t.Errorf("the client gets %v", start)
	}
	<-got
	select {
	case <-done:
		t.Error("Timeout has left the application behind")
	case <-time.After(soon):
	}
	close(finished)
	if err := <-done; err != nil || len(got) != 0 {
		t.Errorf("%v, and %d more events", err, len(got))
	}
}

func TestTimeoutWithPanics(t *testing.T) {
	app := after(testkit.Patience, nil, pagi.HTTPResponseStart{Status: 200})
	res := pagitest.New(middleware.Timeout{Timeout: soon, OnTimeout: func(*pagi.Scope) { panic("hook") }}.Wrap(app)).Get("/")
	var panicked *pagi.PanicError
	if res.Status != 504 || !errors.As(res.Err, &panicked) || panicked.Value != "hook" {
		t.Errorf("a hook: %d %v", res.Status, res.Err)
	}
	res = pagitest.New(middleware.Timeout{}.Wrap(pagi.AppFunc(func(context.Context, *pagi.Scope, pagi.Receive, pagi.Send) error { panic("app") }))).Get("/")
	if res.Status != 500 || !errors.As(res.Err, &panicked) || panicked.Value != "app" {
		t.Errorf("an application: %d %v", res.Status, res.Err)
	}
}

// A response that ends just when the time is over is whole, cut, or a 504.
func TestTimeoutAtTheLastMoment(t *testing.T) {
	m := middleware.Timeout{Timeout: 2 * time.Millisecond}
	app := m.Wrap(pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		time.Sleep(2 * time.Millisecond)
		return hello.Serve(ctx, scope, receive, send)
	}))
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			if res := pagitest.New(app).Get("/"); res.Status != 504 && (res.Status != 200 || res.Err == nil && res.Text() != "hello") {
				t.Errorf("%d %q %v", res.Status, res.Text(), res.Err)
			}
		})
	}
	wg.Wait()
}

func TestTimeoutOptions(t *testing.T) {
	checks(t, map[string]pagi.Middleware{
		`timeout: must not be negative, is -1s`:  middleware.Timeout{Timeout: -time.Second},
		`until: must be end or start, is "body"`: middleware.Timeout{Until: "body"},
	})
}
