package response

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/ending"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
)

// Background has f run after the response was sent, or its client has left: to send a mail, for
// example. Several functions run one after another, each whatever the others' errors. The context
// of f has the values of the exchange, and does not end when the client leaves.
//
// Below a Tasks, f runs beside later requests of the connection, and is waited for at shutdown.
// Without one, Send runs f itself and returns its error. Then a client that uses the connection
// again waits for f.
func (r *Response) Background(f func(ctx context.Context) error) *Response {
	r.after = append(r.after, f)
	return r
}

// runAfter runs the functions of Background, or hands them to a Tasks.
func (r *Response) runAfter(ctx context.Context, scope *pagi.Scope) error {
	if len(r.after) == 0 {
		return nil
	}
	tasks, _ := ctx.Value(tasksKey{}).(*Tasks)
	ctx = context.WithoutCancel(ctx)
	if tasks != nil && tasks.start(ctx, scope, r.after) {
		return nil
	}
	return runAll(ctx, r.after)
}

// runAll runs functions one after another and returns their errors and panics.
func runAll(ctx context.Context, all []func(context.Context) error) error {
	var failed []error
	for _, f := range all {
		failed = append(failed, ending.Guard(func() error { return f(ctx) }))
	}
	return errors.Join(failed...)
}

// Tasks is a middleware that runs the background work of the responses below it. At the end of the
// lifespan it waits for the work that runs. One Tasks stands around one application. Its zero value
// works; a Tasks must not be copied.
type Tasks struct {
	// Max is how many responses may have background work at once; 0 means 100. The work of one more
	// runs in the request's own time, so that its client waits.
	Max int
	// Timeout is when the context of background work ends; 0 means 5 minutes.
	Timeout time.Duration
	// Logger gets errors and panics of background work; nil means slog.Default.
	Logger *slog.Logger

	mu      sync.Mutex
	running int
	cut     context.CancelCauseFunc // ends the contexts of all work; nil: none has begun
	life    context.Context
	changed chan struct{} // closed when one more has ended
}

type tasksKey struct{}

const (
	defaultTasks       = 100
	defaultTaskTimeout = 5 * time.Minute
)

// Check reports a negative Max or Timeout.
func (t *Tasks) Check() error {
	var errs []error
	if t.Max < 0 {
		errs = append(errs, pagi.BadOption("max", "must not be negative, is %d", t.Max))
	}
	if t.Timeout < 0 {
		errs = append(errs, pagi.BadOption("timeout", "must not be negative, is %v", t.Timeout))
	}
	return errors.Join(errs...)
}

// Wrap puts t around next.
func (t *Tasks) Wrap(next pagi.App) pagi.App {
	if err := t.Check(); err != nil {
		return lifespan.Broken(err)
	}
	hooks := lifespan.Hooks{Shutdown: []func(context.Context, map[string]any) error{
		func(ctx context.Context, _ map[string]any) error { return t.Wait(ctx) },
	}}
	return hooks.Wrap(pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Type != pagi.TypeLifespan {
			ctx = context.WithValue(ctx, tasksKey{}, t)
		}
		return next.Serve(ctx, scope, receive, send)
	}))
}

// start runs functions in a goroutine, unless there are too many.
func (t *Tasks) start(ctx context.Context, scope *pagi.Scope, all []func(context.Context) error) bool {
	t.mu.Lock()
	if t.running >= cmp.Or(t.Max, defaultTasks) {
		t.mu.Unlock()
		return false
	}
	if t.running++; t.cut == nil {
		t.life, t.cut = context.WithCancelCause(context.Background())
	}
	life := t.life
	t.mu.Unlock()
	method, path := scope.Method, scope.RootPath+scope.Path
	go func() {
		defer t.ended()
		ctx, cancel := context.WithTimeout(ctx, cmp.Or(t.Timeout, defaultTaskTimeout))
		defer cancel()
		defer context.AfterFunc(life, cancel)()
		if err := runAll(ctx, all); err != nil {
			args := []any{"method", method, "path", path, "error", err}
			var panicked *pagi.PanicError
			if errors.As(err, &panicked) {
				args = append(args, "stack", string(panicked.Stack))
			}
			cmp.Or(t.Logger, slog.Default()).Error("background work failed", args...)
		}
	}()
	return true
}

func (t *Tasks) ended() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.running--
	if t.changed != nil {
		close(t.changed)
		t.changed = nil
	}
}

// Wait waits until no background work runs. If ctx ends first, the contexts of the work end, too, and
// Wait returns an error without waiting on.
func (t *Tasks) Wait(ctx context.Context) error {
	for {
		t.mu.Lock()
		running := t.running
		if running > 0 && t.changed == nil {
			t.changed = make(chan struct{})
		}
		changed := t.changed
		t.mu.Unlock()
		if running == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.mu.Lock()
			defer t.mu.Unlock()
			if t.running == 0 {
				return nil
			}
			if t.cut != nil { // nil: another Wait has ended the contexts
				t.cut(context.Cause(ctx))
				t.cut = nil // work that begins later has a life of its own
			}
			return fmt.Errorf("background work of %d responses still runs: %w", t.running, context.Cause(ctx))
		}
	}
}
