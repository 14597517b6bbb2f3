package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
)

// LifespanMode selects how the server treats the lifespan protocol.
type LifespanMode string

const (
	// LifespanAuto runs the application's lifespan if it has one.
	LifespanAuto LifespanMode = "auto"
	// LifespanOn requires a lifespan: an application that declines it is not served.
	LifespanOn LifespanMode = "on"
	// LifespanOff never calls the application with a lifespan scope.
	LifespanOff LifespanMode = "off"
)

// appLife is the application's lifespan as one Run sees it.
type appLife struct {
	app     pagi.App
	mode    LifespanMode
	timeout time.Duration // of startup; negative: none
	log     *slog.Logger

	state   map[string]any // nil without a lifespan
	run     *lifespan.Run
	stopped chan struct{} // ends the watcher
	watched chan struct{} // closed when the watcher has ended
}

func newLifespan(s *Server, timeout time.Duration, log *slog.Logger) (*appLife, error) {
	mode := orDefault(s.Lifespan, LifespanAuto)
	switch mode {
	case LifespanAuto, LifespanOn, LifespanOff:
	default:
		return nil, fmt.Errorf("server: lifespan mode %q: must be auto, on or off", mode)
	}
	return &appLife{
		app:     s.App,
		mode:    mode,
		timeout: timeout,
		log:     log,
	}, nil
}

// start calls the application with a lifespan scope and waits until it is ready.
func (l *appLife) start(ctx context.Context) error {
	if l.mode == LifespanOff {
		return nil
	}
	if l.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, l.timeout,
			fmt.Errorf("it took longer than the lifespan startup timeout of %v", l.timeout))
		defer cancel()
	}
	state := map[string]any{}
	run, err := lifespan.Start(ctx, l.app, &pagi.Scope{
		Type:  pagi.TypeLifespan,
		PAGI:  pagi.Versions{Version: pagi.SpecVersion},
		State: state,
	})
	switch {
	case err != nil:
		return fmt.Errorf("server: application did not start: %w", err)
	case run.Supported():
		l.state, l.run = state, run
		l.watch()
		return nil
	case l.mode == LifespanOn && run.Declined() != nil:
		return fmt.Errorf("server: lifespan is \"on\" but the application declined it: %w", run.Declined())
	case l.mode == LifespanOn:
		return fmt.Errorf("server: lifespan is \"on\" but the application returned without answering startup")
	case errors.Is(run.Declined(), pagi.ErrUnsupported): // it says that it has nothing to start
		l.log.Debug("application declined lifespan", "error", run.Declined())
	case run.Declined() != nil:
		l.log.Info("application declined lifespan, going on without", "error", run.Declined())
	default:
		l.log.Info("application returned without answering lifespan startup, going on without")
	}
	return nil
}

// watch logs the error of a lifespan call that fails while requests are served.
func (l *appLife) watch() {
	l.stopped, l.watched = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(l.watched)
		select {
		case <-l.run.Finished():
			if err := l.run.Err(); err != nil {
				l.log.Error("application's lifespan failed after startup, going on without it", "error", err)
			}
		case <-l.stopped:
		}
	}()
}

// stop asks the application to clean up and waits for timeout at most, or until force is closed. If
// force is closed already, the application gets as much time as with no timeout left.
func (l *appLife) stop(timeout time.Duration, force <-chan struct{}) error {
	if l.run == nil {
		return nil
	}
	close(l.stopped)
	<-l.watched
	select {
	case <-l.run.Finished(): // its call has ended already; watch has logged why
		return nil
	default:
	}
	late := fmt.Errorf("it took longer than the shutdown timeout of %v", timeout)
	select {
	case <-force:
		timeout, force = 0, nil
		late = errForced
	default:
	}
	ctx, cancelTimeout := context.WithTimeoutCause(context.Background(), max(timeout, afterCut), late)
	defer cancelTimeout()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer afterClose(force, func() { cancel(errForced) })()
	if err := l.run.Shutdown(ctx); err != nil {
		return err
	}
	return nil
}

// errForced is the error of a shutdown that a forced stop did not wait for.
var errForced = errors.New("the stop was forced")

// requestState returns the state of which each request gets a copy.
func (l *appLife) requestState() map[string]any { return l.state }
