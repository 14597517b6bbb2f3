package mux

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"sync"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// WorkerOptions are for the worker's end of a connection. The zero value works.
type WorkerOptions struct {
	// Logger gets what goes wrong; nil means slog.Default.
	Logger *slog.Logger
}

// Worker is the worker's end of a connection, for an application in Go. NewWorker makes one.
type Worker struct {
	link
	app     pagi.App
	state   state
	scopes  sync.WaitGroup
	drained chan struct{} // closed by DRAIN
	drain   sync.Once
	ctx     context.Context
	calls   callers
}

// NewWorker returns the worker's end of a connection. Run must be called.
func NewWorker(l *Line, app pagi.App, opt WorkerOptions) *Worker {
	if opt.Logger == nil {
		opt.Logger = slog.Default()
	}
	w := &Worker{app: app, drained: make(chan struct{})}
	w.init(l, opt.Logger, wire.ToWorker, w)
	return w
}

// Run tells the gateway that the worker is ready, and serves scopes until the gateway sends DRAIN and
// the scopes have ended; it then returns nil. It returns an error when the connection ends before
// that. The end of ctx ends the contexts of all scopes, and the connection once they have returned.
func (w *Worker) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.ctx = ctx
	if err := w.put(func(b []byte) []byte { return wire.AppendFrame(b, wire.Ready, 0, 0, nil) }); err != nil {
		return err
	}
	var closer sync.WaitGroup
	closer.Go(func() {
		select {
		case <-w.drained:
		case <-ctx.Done():
		case <-w.done:
			return
		}
		w.scopes.Wait()
		w.out.flush()
		w.close(errDrained)
	})
	err := w.run(Ping{})
	cancel()
	w.calls.failAll(err)
	w.scopes.Wait()
	closer.Wait()
	w.tasks.Wait()
	if errors.Is(err, errDrained) {
		return nil
	}
	return err
}

// errDrained is why a connection ends whose worker has finished.
var errDrained = errors.New("the worker has finished")

// frame implements end.
func (w *Worker) frame(frame wire.Frame) error {
	switch frame.Type {
	case wire.Scope:
		return w.begin(frame)
	case wire.Drain:
		w.drain.Do(func() { close(w.drained) })
		return nil
	case wire.Reply:
		return w.calls.replied(frame)
	}
	return w.unexpected(frame)
}

// late implements end. What the gateway has sent about a stream before it had read the END is
// ignored.
func (w *Worker) late(frame wire.Frame) error {
	if frame.Type != wire.End && w.streams.isKnown(frame.Stream) {
		return nil
	}
	return w.unexpected(frame)
}

// finish implements end: the gateway ends its half by DISCONNECT.
func (w *Worker) finish(s *stream, frame wire.Frame) error {
	if frame.Type != wire.Disconnect {
		return w.unexpected(frame)
	}
	code, reason, err := wire.DecodeDisconnect(frame.Payload)
	if err != nil {
		return err
	}
	s.out.close()
	s.in.finish(ending{code: code, text: reason})
	return nil
}

// begin starts the application for a SCOPE.
func (w *Worker) begin(frame wire.Frame) error {
	scope, err := wire.DecodeScope(frame.Payload)
	if err != nil {
		return err
	}
	s := w.newStream(frame.Stream, scope)
	if err := w.streams.openAs(frame.Stream, w.terms.Own.Streams, s); err != nil {
		return err
	}
	w.scopes.Go(func() { w.serve(s, scope) })
	return nil
}

// serve runs the application for one scope, and sends END.
func (w *Worker) serve(s *stream, scope *pagi.Scope) {
	call := newCall(s, scope)
	scope.State = w.state.of(scope)
	call.started = func() { w.state.keep(scope.State) }
	ctx, cancel := context.WithCancelCause(w.ctx)
	s.in.atEnd(func(end ending) { call.disconnected(end, cancel) })
	err := guarded(ctx, w.app, scope, call.receive, call.send)
	cancel(nil)
	kind, message := endOf(err)
	w.streams.remove(s.id)
	s.out.close()
	s.in.drop()
	// An error means that the connection has ended, and the stream with it.
	_ = w.put(func(b []byte) []byte { return wire.AppendEnd(b, s.id, kind, message) })
}

// guarded calls app and returns a panic of its as a *pagi.PanicError.
func guarded(ctx context.Context, app pagi.App, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &pagi.PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	return app.Serve(ctx, scope, receive, send)
}

// endOf returns what END says about an application that has returned err.
func endOf(err error) (kind uint8, message string) {
	var invalid *pagi.EventError
	var panicked *pagi.PanicError
	var gone *pagi.DisconnectError
	switch {
	case err == nil, errors.As(err, &gone):
		return wire.EndReturned, ""
	case errors.Is(err, pagi.ErrUnsupported):
		return wire.EndUnsupported, err.Error()
	case errors.As(err, &invalid):
		return wire.EndInvalid, err.Error()
	case errors.As(err, &panicked):
		return wire.EndDied, fmt.Sprintf("%v\n%s", err, panicked.Stack)
	}
	return wire.EndDied, err.Error()
}

// state is what the application has put into the state of the lifespan scope. It stays in the worker.
type state struct {
	mu     sync.Mutex
	shared map[string]any
}

// of returns the state for a scope: the shared map for lifespan, else a copy of it.
func (st *state) of(scope *pagi.Scope) map[string]any {
	st.mu.Lock()
	defer st.mu.Unlock()
	if scope.Type == pagi.TypeLifespan {
		return map[string]any{}
	}
	return maps.Clone(st.shared)
}

func (st *state) keep(shared map[string]any) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.shared = maps.Clone(shared)
}
