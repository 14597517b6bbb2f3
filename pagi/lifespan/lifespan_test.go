package lifespan_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
)

func lifespanScope() *pagi.Scope {
	return &pagi.Scope{Type: pagi.TypeLifespan, PAGI: pagi.Versions{Version: pagi.SpecVersion}, State: map[string]any{}}
}

// within returns a context of ten seconds, far longer than any wait of t needs.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func wait(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-within(t).Done():
		t.Fatalf("%s: waited in vain", what)
	}
}

// hooked returns an application that answers the lifespan scope with the two
// functions and declines everything else.
func hooked(startup, shutdown func(context.Context) error) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, w pagi.Send) error {
		if s.Type != pagi.TypeLifespan {
			return pagi.Unsupported(s)
		}
		return lifespan.Serve(ctx, r, w, startup, shutdown)
	})
}

func ExampleHooks() {
	app := lifespan.Hooks{
		Startup: []func(context.Context, map[string]any) error{
			func(_ context.Context, state map[string]any) error {
				state["myapp.db"] = "connected"
				return nil
			},
		},
		Shutdown: []func(context.Context, map[string]any) error{
			func(_ context.Context, state map[string]any) error {
				fmt.Println("closing", state["myapp.db"])
				return nil
			},
		},
	}.Wrap(pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, _ pagi.Send) error {
		return pagi.Unsupported(scope)
	}))

	scope := &pagi.Scope{Type: pagi.TypeLifespan, State: map[string]any{}}
	run, err := lifespan.Start(context.Background(), app, scope)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("ready:", scope.State["myapp.db"])
	if err := run.Shutdown(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// ready: connected
	// closing connected
}

func TestLifespanCompletes(t *testing.T) {
	var log []string
	app := hooked(
		func(context.Context) error { log = append(log, "up"); return nil },
		func(context.Context) error { log = append(log, "down"); return nil })
	run, err := lifespan.Start(within(t), app, lifespanScope())
	if err != nil || !run.Supported() || run.Declined() != nil {
		t.Fatalf("start: %v, supported %v", err, run.Supported())
	}
	if err := run.Shutdown(within(t)); err != nil {
		t.Fatal(err)
	}
	wait(t, "the call's end", run.Finished())
	if run.Err() != nil || !slices.Equal(log, []string{"up", "down"}) {
		t.Errorf("%v, %q", run.Err(), log)
	}
}

func TestLifespanWithoutHooks(t *testing.T) {
	run, err := lifespan.Start(within(t), hooked(nil, nil), lifespanScope())
	if err != nil || !run.Supported() {
		t.Fatal(err)
	}
	if err := run.Shutdown(within(t)); err != nil {
		t.Error(err)
	}
}

func TestLifespanStartupFails(t *testing.T) {
	released := false
	app := hooked(
		func(context.Context) error { return errors.New("no database") },
		func(context.Context) error { released = true; return errors.New("nor anything to close") })
	run, err := lifespan.Start(within(t), app, lifespanScope())
	var failed *lifespan.Error
	if run != nil || !errors.As(err, &failed) {
		t.Fatalf("got %v, %v", run, err)
	}
	if failed.Phase != "startup" || err.Error() != "startup failed: no database\nnor anything to close" || !released {
		t.Errorf("%q, released %v", err, released)
	}
	if got := (&lifespan.Error{Phase: "startup"}).Error(); got != "startup failed" {
		t.Errorf("without a message: %q", got)
	}
}

func TestLifespanStartupPanics(t *testing.T) {
	_, err := lifespan.Start(within(t), hooked(func(context.Context) error { panic("boom") }, nil), lifespanScope())
	if err == nil || err.Error() != "startup failed: panic: boom" {
		t.Errorf("got %v", err)
	}
}

func TestLifespanDeclined(t *testing.T) {
	for name, c := range map[string]struct {
		serve func() error
		want  string
	}{
		"by an error":  {func() error { return pagi.Unsupported(lifespanScope()) }, `unsupported scope type: "lifespan"`},
		"by returning": {func() error { return nil }, "<nil>"},
		"by a panic":   {func() error { panic("not me") }, "panic: not me"},
	} {
		t.Run(name, func(t *testing.T) {
			app := pagi.AppFunc(func(context.Context, *pagi.Scope, pagi.Receive, pagi.Send) error { return c.serve() })
			run, err := lifespan.Start(within(t), app, lifespanScope())
			if err != nil || run.Supported() {
				t.Fatalf("%v", err)
			}
			if got := fmt.Sprint(run.Declined()); got != c.want {
				t.Errorf("declined with %q, want %q", got, c.want)
			}
			if err := run.Shutdown(within(t)); err != nil {
				t.Errorf("shutdown: %v", err)
			}
		})
	}
}

func TestLifespanAnswerGivenRightBeforeTheReturnCounts(t *testing.T) {
	for range 50 {
		app := pagi.AppFunc(func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
			return send(ctx, pagi.LifespanStartupFailed{Message: "no"})
		})
		if _, err := lifespan.Start(within(t), app, lifespanScope()); err == nil {
			t.Fatal("a failed startup was taken for a declined one")
		}
	}
}

func TestLifespanStartupTimesOut(t *testing.T) {
	ended := make(chan struct{})
	app := hooked(func(ctx context.Context) error { <-ctx.Done(); close(ended); return ctx.Err() }, nil)
	ctx, cancel := context.WithTimeoutCause(t.Context(), time.Millisecond, errors.New("30s are over"))
	defer cancel()
	_, err := lifespan.Start(ctx, app, lifespanScope())
	if err == nil || err.Error() != "lifespan startup: no answer: 30s are over" {
		t.Errorf("got %v", err)
	}
	wait(t, "the hook's end", ended)
}

func TestLifespanShutdownFails(t *testing.T) {
	run, err := lifespan.Start(within(t), hooked(nil, func(context.Context) error { return errors.New("disk full") }), lifespanScope())
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Shutdown(within(t)); err == nil || err.Error() != "shutdown failed: disk full" {
		t.Errorf("got %v", err)
	}
}

func TestLifespanShutdownTimesOut(t *testing.T) {
	run, err := lifespan.Start(within(t), hooked(nil, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }), lifespanScope())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := run.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	wait(t, "the call's end", run.Finished()) // its context was cancelled
}

func TestLifespanCrashAfterStartup(t *testing.T) {
	crash := make(chan struct{})
	app := pagi.AppFunc(func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		if err := send(ctx, pagi.LifespanStartupComplete{}); err != nil {
			return err
		}
		<-crash
		panic("background task died")
	})
	run, err := lifespan.Start(within(t), app, lifespanScope())
	if err != nil || !run.Supported() {
		t.Fatal(err)
	}
	close(crash)
	wait(t, "the crash", run.Finished())
	var p *pagi.PanicError
	if !errors.As(run.Err(), &p) || len(p.Stack) == 0 {
		t.Errorf("Err: %v", run.Err())
	}
	if err := run.Shutdown(within(t)); !errors.As(err, &p) {
		t.Errorf("Shutdown: %v", err)
	}
}

func TestLifespanRefusesAnswersOutOfTurn(t *testing.T) {
	var errs []string
	app := pagi.AppFunc(func(ctx context.Context, _ *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		try := func(ev pagi.Event) {
			if err := send(ctx, ev); err != nil {
				errs = append(errs, err.Error())
			}
		}
		try(pagi.HTTPResponseStart{Status: 200})
		try(pagi.LifespanShutdownComplete{})
		try(pagi.LifespanStartupComplete{})
		try(pagi.LifespanStartupFailed{})
		for {
			ev, err := receive(ctx)
			if err != nil {
				return err
			}
			if _, is := ev.(pagi.LifespanShutdown); is {
				try(pagi.LifespanShutdownComplete{})
				try(pagi.LifespanShutdownFailed{})
				return nil
			}
		}
	})
	run, err := lifespan.Start(within(t), app, lifespanScope())
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Shutdown(within(t)); err != nil {
		t.Fatal(err)
	}
	wait(t, "the call's end", run.Finished())
	want := []string{
		"http.response.start: 'type' is not an event an application can send in a scope of type lifespan",
		"lifespan.shutdown.complete: shutdown was not asked for yet",
		"lifespan.startup.failed: startup was answered already",
		"lifespan.shutdown.failed: shutdown was answered already",
	}
	if diff := cmp.Diff(want, errs); diff != "" {
		t.Error(diff)
	}
}

func TestServeReleasesWhenTheScopeEndsUnasked(t *testing.T) {
	gone := errors.New("the server is gone")
	released := false
	events := []pagi.Event{pagi.LifespanStartup{}}
	receive := func(context.Context) (pagi.Event, error) {
		if len(events) == 0 {
			return nil, gone
		}
		ev := events[0]
		events = nil
		return ev, nil
	}
	err := lifespan.Serve(t.Context(), receive, func(context.Context, pagi.Event) error { return nil },
		nil, func(context.Context) error { released = true; return nil })
	if !errors.Is(err, gone) || !released {
		t.Errorf("%v, released %v", err, released)
	}
	released = false
	if err := lifespan.Serve(t.Context(), receive, nil, nil, func(context.Context) error { released = true; return nil }); !errors.Is(err, gone) || released {
		t.Errorf("before startup: %v, released %v", err, released)
	}
}

func TestLifespanMiddlewareOrder(t *testing.T) {
	var log []string
	note := func(name string, err error) func(context.Context, map[string]any) error {
		return func(_ context.Context, state map[string]any) error {
			state[name] = true
			log = append(log, name)
			return err
		}
	}
	inner := hooked(
		func(context.Context) error { log = append(log, "app up"); return nil },
		func(context.Context) error { log = append(log, "app down"); return nil })
	type hooks = []func(context.Context, map[string]any) error
	l := lifespan.Hooks{
		Startup:  hooks{note("up 1", nil), note("up 2", nil)},
		Shutdown: hooks{note("down 1", nil), func(context.Context, map[string]any) error { panic("down 2") }, note("down 3", errors.New("no"))},
	}
	scope := lifespanScope()
	run, err := lifespan.Start(within(t), l.Wrap(inner), scope)
	if err != nil {
		t.Fatal(err)
	}
	if scope.State["up 1"] != true {
		t.Error("a hook's entry is not in the state")
	}
	err = run.Shutdown(within(t))
	if err == nil || err.Error() != "shutdown failed: no\npanic: down 2" {
		t.Errorf("shutdown: %v", err)
	}
	if got := strings.Join(log, ", "); got != "up 1, up 2, app up, app down, down 3, down 1" {
		t.Errorf("order: %s", got)
	}

	log = nil
	l.Startup = hooks{note("up 1", errors.New("not today")), note("up 2", nil)}
	l.Shutdown = hooks{note("down 1", nil)}
	noState := &pagi.Scope{Type: pagi.TypeLifespan}
	if _, err = lifespan.Start(within(t), l.Wrap(inner), noState); err == nil || err.Error() != "startup failed: not today" {
		t.Errorf("startup: %v", err)
	}
	if got := strings.Join(log, ", "); got != "up 1, down 1" {
		t.Errorf("order: %s", got)
	}
	log = nil
	if err := l.Wrap(inner).Serve(t.Context(), &pagi.Scope{Type: pagi.TypeHTTP}, nil, nil); !errors.Is(err, pagi.ErrUnsupported) || log != nil {
		t.Errorf("another scope: %v, %q", err, log)
	}
}

func TestLifespanMiddlewareNamesTheInnerFailureOnce(t *testing.T) {
	inner := hooked(func(context.Context) error { return errors.New("no database") }, nil)
	_, err := lifespan.Start(within(t), lifespan.Hooks{}.Wrap(lifespan.Hooks{}.Wrap(inner)), lifespanScope())
	if err == nil || err.Error() != "startup failed: no database" {
		t.Errorf("got %v", err)
	}
}

func fanOut(children ...lifespan.Child) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, w pagi.Send) error {
		return lifespan.FanOut(ctx, s, r, w, children)
	})
}

func TestFanOutNamesTheFailingChild(t *testing.T) {
	stopped := false
	app := fanOut(
		lifespan.Child{Name: "/good", App: hooked(nil, func(context.Context) error { stopped = true; return nil })},
		lifespan.Child{Name: "/none", App: pagi.AppFunc(func(context.Context, *pagi.Scope, pagi.Receive, pagi.Send) error { panic("declines") })},
		lifespan.Child{Name: "/bad", App: hooked(func(context.Context) error { return errors.New("no perl") }, nil)},
	)
	_, err := lifespan.Start(within(t), app, lifespanScope())
	if err == nil || err.Error() != "startup failed: /bad: no perl" {
		t.Errorf("got %v", err)
	}
	if !stopped {
		t.Error("a child that had started was not shut down")
	}
}

func TestFanOutMergesStateAndReportsShutdown(t *testing.T) {
	setting := func(key string, value any) pagi.App {
		return pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, w pagi.Send) error {
			return lifespan.Serve(ctx, r, w,
				func(context.Context) error { s.State[key] = value; return nil },
				func(context.Context) error { return fmt.Errorf("cannot close %s", key) })
		})
	}
	shared := map[string]int{"x": 1}
	scope := lifespanScope()
	scope.State["shared"], scope.State["list"], scope.State["name"] = shared, []int{1}, "outer"
	app := fanOut(
		lifespan.Child{Name: "/a", App: setting("name", "changed by a")},
		lifespan.Child{Name: "/b", App: setting("b", 2)},
		lifespan.Child{Name: "/c", App: hooked(nil, nil)},
	)
	run, err := lifespan.Start(within(t), app, scope)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"name": "changed by a", "b": 2, "shared": shared, "list": []int{1}}
	if diff := cmp.Diff(want, scope.State); diff != "" {
		t.Error(diff)
	}
	if err := run.Shutdown(within(t)); err == nil || err.Error() != "shutdown failed: /a: cannot close name\n/b: cannot close b" {
		t.Errorf("shutdown: %v", err)
	}
}

func TestFanOutWithoutState(t *testing.T) {
	app := fanOut(lifespan.Child{Name: "/a", App: lifespan.Hooks{Startup: []func(context.Context, map[string]any) error{
		func(_ context.Context, state map[string]any) error { state["k"] = 1; return nil },
	}}.Wrap(hooked(nil, nil))})
	run, err := lifespan.Start(within(t), app, &pagi.Scope{Type: pagi.TypeLifespan})
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Shutdown(within(t)); err != nil {
		t.Error(err)
	}
}

func TestFanOutStopsItsChildrenWhenGivenUp(t *testing.T) {
	stopped := make(chan struct{})
	app := fanOut(lifespan.Child{Name: "/slow", App: hooked(func(ctx context.Context) error { <-ctx.Done(); close(stopped); return ctx.Err() }, nil)})
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := lifespan.Start(ctx, app, lifespanScope()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	wait(t, "the child's end", stopped)
}

func TestBroken(t *testing.T) {
	app := lifespan.Broken(pagi.BadOption("root", "is missing"))
	if _, err := lifespan.Start(within(t), app, lifespanScope()); err == nil || err.Error() != "startup failed: root: is missing" {
		t.Errorf("lifespan: %v", err)
	}
	if err := app.Serve(t.Context(), &pagi.Scope{Type: pagi.TypeHTTP}, nil, nil); err == nil || err.Error() != "root: is missing" {
		t.Errorf("http: %v", err)
	}
}

// TestShutdownThatIsLateEndsWhatItHasBegun: when the time is over the application still gets a
// moment to end its processes, even if it is nested in another application.
func TestShutdownThatIsLateEndsWhatItHasBegun(t *testing.T) {
	for name, around := range map[string]func(pagi.App) pagi.App{
		"alone":          func(app pagi.App) pagi.App { return app },
		"one of several": func(app pagi.App) pagi.App { return fanOut(lifespan.Child{Name: "/", App: app}) },
		"in hooks":       func(app pagi.App) pagi.App { return lifespan.Hooks{}.Wrap(app) },
	} {
		t.Run(name, func(t *testing.T) {
			ended, asked := false, make(chan struct{})
			app := hooked(nil, func(ctx context.Context) error {
				close(asked)
				<-ctx.Done()
				time.Sleep(50 * time.Millisecond) // it kills its processes
				ended = true
				return nil
			})
			run, err := lifespan.Start(within(t), around(app), lifespanScope())
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-asked; cancel() }()
			if err := run.Shutdown(ctx); !errors.Is(err, context.Canceled) || !ended {
				t.Errorf("%v, ended %v", err, ended)
			}
		})
	}
}

// TestCleanUpAfterAnInterruptedStartHasTime: the clean-up gets another context than the one that
// has ended.
func TestCleanUpAfterAnInterruptedStartHasTime(t *testing.T) {
	var cleaned, started error = errors.New("not called"), errors.New("not called")
	starting := make(chan struct{})
	slow := hooked(
		func(ctx context.Context) error { close(starting); <-ctx.Done(); return ctx.Err() },
		func(ctx context.Context) error { cleaned = ctx.Err(); return nil })
	quick := hooked(nil, func(ctx context.Context) error { started = ctx.Err(); return nil })
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-starting; cancel() }()
	app := fanOut(lifespan.Child{Name: "/slow", App: slow}, lifespan.Child{Name: "/quick", App: quick})
	if _, err := lifespan.Start(ctx, app, lifespanScope()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if cleaned != nil || started != nil {
		t.Errorf("the one that was starting: %v; the one that had started: %v", cleaned, started)
	}
}
