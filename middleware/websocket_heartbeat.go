package middleware

import (
	"context"
	"errors"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// WebSocketHeartbeat makes the server ping the clients of WebSockets, so that proxies do not take a
// quiet connection for a dead one, and drop those that do not answer. The application can change it
// by a pagi.WebSocketKeepalive of its own.
type WebSocketHeartbeat struct {
	// Interval is the time between two pings.
	Interval time.Duration `yaml:"interval" default:"30s" zero:"must be more than 0"`
	// Timeout is how long the answer may take.
	Timeout time.Duration `yaml:"timeout" default:"10s" zero:"off"`
}

func init() { parts.Middleware[WebSocketHeartbeat]("websocket_heartbeat") }

// Check reports a negative time.
func (m WebSocketHeartbeat) Check() error {
	var errs []error
	if m.Interval < 0 {
		errs = append(errs, pagi.BadOption("interval", "must not be negative, is %v", m.Interval))
	}
	if m.Timeout < 0 && m.Timeout != -1 {
		errs = append(errs, pagi.BadOption("timeout", "must not be negative, is %v", m.Timeout))
	}
	return errors.Join(errs...)
}

// Wrap puts m around next.
func (m WebSocketHeartbeat) Wrap(next pagi.App) pagi.App {
	option.SetDefaults(&m)
	keepalive := pagi.WebSocketKeepalive{Interval: m.Interval, Timeout: max(m.Timeout, 0)}
	return wrap(m, next, func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Type != pagi.TypeWebSocket {
			return next.Serve(ctx, scope, receive, send)
		}
		return next.Serve(ctx, scope, receive, func(ctx context.Context, ev pagi.Event) error {
			err := send(ctx, ev)
			if _, accepts := ev.(pagi.WebSocketAccept); accepts && err == nil {
				_ = send(ctx, keepalive) // it fails if the connection is closed already
			}
			return err
		})
	})
}
