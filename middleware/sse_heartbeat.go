package middleware

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// SSEHeartbeat makes the server send a comment in event streams from time to time, so that proxies do
// not take a quiet stream for a dead one. A pagi.SSEKeepalive of the application takes its place. It
// acts in sse scopes only: not on a response that merely has the type text/event-stream.
type SSEHeartbeat struct {
	// Interval is the time between two comments.
	Interval time.Duration `yaml:"interval" default:"15s" zero:"must be more than 0"`
	// Comment is the text.
	Comment string `yaml:"comment" default:"keepalive"`
}

func init() { parts.Middleware[SSEHeartbeat]("sse_heartbeat") }

// Check reports a negative Interval, and a Comment that is not one line of UTF-8.
func (m SSEHeartbeat) Check() error {
	var errs []error
	if m.Interval < 0 {
		errs = append(errs, pagi.BadOption("interval", "must not be negative, is %v", m.Interval))
	}
	if strings.ContainsAny(m.Comment, "\r\n") || !utf8.ValidString(m.Comment) {
		errs = append(errs, pagi.BadOption("comment", "must be one line of UTF-8, is %q", m.Comment))
	}
	return errors.Join(errs...)
}

// Wrap puts m around next.
func (m SSEHeartbeat) Wrap(next pagi.App) pagi.App {
	option.SetDefaults(&m)
	keepalive := pagi.SSEKeepalive{Interval: m.Interval, Comment: m.Comment}
	return wrap(m, next, func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Type != pagi.TypeSSE {
			return next.Serve(ctx, scope, receive, send)
		}
		var own atomic.Bool // the application has a keepalive of its own
		return next.Serve(ctx, scope, receive, func(ctx context.Context, ev pagi.Event) error {
			if _, is := ev.(pagi.SSEKeepalive); is {
				own.Store(true)
			}
			err := send(ctx, ev)
			if _, starts := ev.(pagi.SSEStart); starts && err == nil && !own.Load() {
				_ = send(ctx, keepalive) // it fails if the stream is closed already
			}
			return err
		})
	})
}
