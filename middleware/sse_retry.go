package middleware

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

// SSERetry tells the clients of event streams how long to wait before they connect again. The time
// comes with the first event, or with each one, unless the event has a time of its own. It is not
// sent alone, because pages would take that for a message.
type SSERetry struct {
	// Retry is the time to wait, at most an hour.
	Retry time.Duration `yaml:"retry" default:"3s" zero:"none"`
	// Events have the time: the "first", or "every" one.
	Events string `yaml:"events" default:"first"`
}

func init() { parts.Middleware[SSERetry]("sse_retry") }

// Check reports a Retry that is negative or very long, and a wrong Events.
func (m SSERetry) Check() error {
	option.SetDefaults(&m)
	var errs []error
	if m.Retry < 0 && m.Retry != -1 || m.Retry > time.Hour {
		errs = append(errs, pagi.BadOption("retry", "must be at most an hour, is %v (a number alone counts seconds)", m.Retry))
	}
	if m.Events != "first" && m.Events != "every" {
		errs = append(errs, pagi.BadOption("events", "must be first or every, is %q", m.Events))
	}
	return errors.Join(errs...)
}

// Wrap puts m around next.
func (m SSERetry) Wrap(next pagi.App) pagi.App {
	option.SetDefaults(&m)
	retry, every := max(m.Retry, 0), m.Events == "every"
	return wrap(m, next, func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Type != pagi.TypeSSE {
			return next.Serve(ctx, scope, receive, send)
		}
		var told atomic.Bool
		return next.Serve(ctx, scope.With(scopekey.SSERetry, retry), receive, func(ctx context.Context, ev pagi.Event) error {
			if e, is := ev.(pagi.SSESend); is {
				if first := !told.Swap(true); (first || every) && !e.HasRetry && e.Retry == 0 {
					e.Retry, e.HasRetry = retry, true
					ev = e
				}
			}
			return send(ctx, ev)
		})
	})
}
