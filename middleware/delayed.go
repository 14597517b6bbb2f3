package middleware

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// Delayed makes requests wait before the application sees them: to try a page on a slow network, or
// until something is ready. A client that leaves meanwhile does not reach the application.
type Delayed struct {
	// Delay is how long every request waits.
	Delay time.Duration `yaml:"delay"`
	// Wait is called after Delay. The request goes on when it returns nil, and otherwise fails with its
	// error.
	Wait func(ctx context.Context, scope *pagi.Scope) error `yaml:"-"`
	// Timeout is how long Wait may take before the request is answered with 504; 0 means without a
	// limit. Wait must obey its context.
	Timeout time.Duration `yaml:"timeout"`
}

func init() { parts.Middleware[Delayed]("delayed") }

// Check reports negative times.
func (m Delayed) Check() error {
	var errs []error
	for option, t := range map[string]time.Duration{"delay": m.Delay, "timeout": m.Timeout} {
		if t < 0 {
			errs = append(errs, pagi.BadOption(option, "must not be negative, is %v", t))
		}
	}
	return errors.Join(errs...)
}

// Wrap puts m around next.
func (m Delayed) Wrap(next pagi.App) pagi.App {
	return wrap(m, next, func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if err := m.hold(ctx, scope); err != nil {
			return err
		}
		return next.Serve(ctx, scope, receive, send)
	})
}

// hold returns when the request may go on.
func (m Delayed) hold(ctx context.Context, scope *pagi.Scope) error {
	if m.Delay > 0 {
		timer := time.NewTimer(m.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if m.Wait == nil {
		return nil
	}
	waiting := ctx
	if m.Timeout > 0 {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, m.Timeout)
		defer cancel()
	}
	err := m.Wait(waiting, scope)
	if err != nil && ctx.Err() == nil && waiting.Err() != nil {
		return &pagi.StatusError{
			Status: http.StatusGatewayTimeout, Message: http.StatusText(http.StatusGatewayTimeout),
			Err: fmt.Errorf("what a delayed request waits for has taken more than %v: %w", m.Timeout, err),
		}
	}
	return err
}
