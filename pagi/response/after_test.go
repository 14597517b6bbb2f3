package response_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/nethttp"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/response"
)

func TestBackgroundWorkWithoutTasks(t *testing.T) {
	broken := errors.New("broken")
	var order []string
	res := get(func() *response.Response {
		return response.Text("x").
			Background(func(ctx context.Context) error { order = append(order, "first"); return broken }).
			Background(func(ctx context.Context) error { order = append(order, "second"); panic("a bug") })
	})
	var panicked *pagi.PanicError
	if res.Text() != "x" || !errors.Is(res.Err, broken) || !errors.As(res.Err, &panicked) || len(order) != 2 {
		t.Errorf("%q, %v, %v", res.Text(), res.Err, order)
	}
}

type contextKey struct{}

// Below a Tasks the client gets its answer, and may use the connection again, while the work runs.
// The work's context goes on when the client has left.
func TestBackgroundWorkBelowTasks(t *testing.T) {
	release, done := make(chan struct{}), make(chan error, 1)
	tasks := &response.Tasks{Logger: slog.New(slog.DiscardHandler)}
	var started atomic.Int32
	app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		ctx = context.WithValue(ctx, contextKey{}, "kept")
		r := response.Text("x")
		if scope.Path == "/work" {
			r.Background(func(ctx context.Context) error {
				started.Add(1)
				<-release
				if ctx.Value(contextKey{}) != "kept" {
					done <- errors.New("the context has lost its values")
				}
				done <- ctx.Err()
				return nil
			})
		}
		return r.Send(ctx, scope, send)
	})
	srv := httptest.NewServer(nethttp.Handler(tasks.Wrap(app)))
	defer srv.Close()
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 1}}
	defer client.CloseIdleConnections()
	for _, path := range []string{"/work", "/quick"} {
		res, err := client.Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(res.Body); string(body) != "x" || err != nil {
			t.Errorf("%q, %v", body, err)
		}
		res.Body.Close()
	}
	client.CloseIdleConnections()
	testkit.Eventually(t, "the work to begin", func() bool { return started.Load() == 1 })
	waiting := make(chan error, 1)
	go func() { waiting <- tasks.Wait(t.Context()) }()
	close(release)
	if err := testkit.Await(t, done); err != nil {
		t.Errorf("the work's context: %v", err)
	}
	if err := testkit.Await(t, waiting); err != nil {
		t.Errorf("Wait: %v", err)
	}
}

func TestShutdownWaitsForBackgroundWork(t *testing.T) {
	tasks := &response.Tasks{}
	finished := false
	app := tasks.Wrap(answering(func() *response.Response {
		return response.Text("x").Background(func(context.Context) error {
			for range 100 { // long enough for a shutdown that does not wait
				runtime.Gosched()
			}
			finished = true
			return nil
		})
	}))
	err := pagitest.Run(t.Context(), app, func(c *pagitest.Client) error {
		return c.Get("/").Err
	})
	if err != nil || !finished {
		t.Errorf("%v, finished %v", err, finished)
	}
}

func TestWaitThatEndsFirstEndsTheWork(t *testing.T) {
	tasks := &response.Tasks{Logger: slog.New(slog.DiscardHandler)}
	ended, release := make(chan error, 1), make(chan struct{})
	work := func() *response.Response {
		return response.Text("x").Background(func(ctx context.Context) error { <-ctx.Done(); ended <- ctx.Err(); <-release; return nil })
	}
	client := pagitest.New(tasks.Wrap(answering(work)))
	if res := client.Get("/"); res.Err != nil {
		t.Fatal(res.Err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 2 { // the second finds the contexts ended
		if err := tasks.Wait(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Wait: %v", err)
		}
	}
	close(release)
	if err := testkit.Await(t, ended); !errors.Is(err, context.Canceled) {
		t.Errorf("the work: %v", err)
	}
	if err := tasks.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestTooMuchBackgroundWorkHoldsTheRequest(t *testing.T) {
	tasks := &response.Tasks{Max: 1}
	release := make(chan struct{})
	app := tasks.Wrap(pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		r := response.Text("x")
		if scope.Path == "/first" {
			return r.Background(func(context.Context) error { <-release; return nil }).Send(ctx, scope, send)
		}
		ran := false
		err := r.Background(func(context.Context) error { ran = true; return nil }).Send(ctx, scope, send)
		if !ran {
			t.Error("the second work does not run in its request")
		}
		return err
	}))
	client := pagitest.New(app)
	for _, path := range []string{"/first", "/second"} {
		if res := client.Get(path); res.Err != nil {
			t.Error(res.Err)
		}
	}
	close(release)
	if err := tasks.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestFailedBackgroundWorkIsLogged(t *testing.T) {
	log := &testkit.Log{}
	tasks := &response.Tasks{Logger: slog.New(slog.NewTextHandler(log, nil)), Timeout: time.Millisecond}
	for _, f := range []func(context.Context) error{
		func(context.Context) error { return errors.New("no mail") },
		func(context.Context) error { panic("a bug") },
		func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
	} {
		if res := pagitest.New(tasks.Wrap(answering(func() *response.Response { return response.Text("x").Background(f) }))).Get("/mails"); res.Err != nil {
			t.Error(res.Err)
		}
	}
	if err := tasks.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	log.WaitFor(t, "background work failed", "method=GET", "path=/mails", "no mail")
	log.WaitFor(t, "background work failed", "panic: a bug", "stack=")
	log.WaitFor(t, "background work failed", "deadline exceeded")
}

func TestTasksChecksItsOptions(t *testing.T) {
	if err := (&response.Tasks{Max: -1, Timeout: -1}).Check(); err == nil {
		t.Error("negative options")
	}
	if res := pagitest.New((&response.Tasks{Max: -1}).Wrap(answering(response.Empty))).Get("/"); res.Err == nil {
		t.Error("a Tasks with a wrong option serves")
	}
}
