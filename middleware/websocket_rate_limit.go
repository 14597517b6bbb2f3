package middleware

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/time/rate"

	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

// WebSocketRateLimit closes a WebSocket whose client sends messages faster than allowed, or drops
// such messages. Each connection has a limit of its own; RateLimit limits how many are opened. The
// server limits the size of a message.
type WebSocketRateLimit struct {
	// MessagesPerSecond is how many messages may come.
	MessagesPerSecond int `yaml:"messages_per_second" default:"100" zero:"must be more than 0"`
	// BytesPerSecond is how many bytes may come.
	BytesPerSecond int `yaml:"bytes_per_second" unit:"bytes" default:"1MiB" zero:"must be more than 0"`
	// BurstMultiplier is how many seconds' worth may come at once.
	BurstMultiplier int `yaml:"burst_multiplier" default:"2" zero:"must be more than 0"`
	// Exceeded is what happens beyond: "close", or "drop" the message.
	Exceeded string `yaml:"exceeded" default:"close"`
	// CloseCode is the code of the close: 1008 (policy violation), or 3000 to 4999.
	CloseCode int `yaml:"close_code" default:"1008"`
	// CloseReason is its text, of at most 123 bytes; "" means "Rate limit exceeded".
	CloseReason string `yaml:"close_reason"`
	// OnExceeded takes the place of Exceeded: it reports whether to close. kind is "messages" or
	// "bytes".
	OnExceeded func(scope *pagi.Scope, kind string) (closes bool) `yaml:"-"`
}

func init() { parts.Middleware[WebSocketRateLimit]("websocket_rate_limit") }

// WebSocketBudget tells an application what its client may still send at this moment. It is in the
// scope under scopekey.WebSocketRateLimit.
type WebSocketBudget struct{ messages, bytes *rate.Limiter }

// Messages returns the number of messages.
func (b *WebSocketBudget) Messages() int { return int(b.messages.Tokens()) }

// Bytes returns the number of bytes.
func (b *WebSocketBudget) Bytes() int { return int(b.bytes.Tokens()) }

// Check reports a limit that is not more than 0, and a close that is not allowed.
func (m WebSocketRateLimit) Check() error {
	option.SetDefaults(&m)
	var errs []error
	for _, o := range []struct {
		name  string
		value int
	}{{"messages_per_second", m.MessagesPerSecond}, {"bytes_per_second", m.BytesPerSecond}, {"burst_multiplier", m.BurstMultiplier}} {
		if o.value < 1 {
			errs = append(errs, pagi.BadOption(o.name, "must be more than 0, is %d", o.value))
		}
	}
	if m.Exceeded != "close" && m.Exceeded != "drop" {
		errs = append(errs, pagi.BadOption("exceeded", "must be close or drop, is %q", m.Exceeded))
	}
	if m.CloseCode != 1008 && (m.CloseCode < 3000 || m.CloseCode > 4999) {
		errs = append(errs, pagi.BadOption("close_code", "must be 1008 or 3000 to 4999, is %d", m.CloseCode))
	}
	if len(m.CloseReason) > 123 || !utf8.ValidString(m.CloseReason) {
		errs = append(errs, pagi.BadOption("close_reason", "must be UTF-8 of at most 123 bytes"))
	}
	return errors.Join(errs...)
}

// Wrap puts m around next.
func (m WebSocketRateLimit) Wrap(next pagi.App) pagi.App {
	option.SetDefaults(&m)
	m.CloseReason = or(m.CloseReason, "Rate limit exceeded")
	limiter := func(n int) *rate.Limiter { return rate.NewLimiter(rate.Limit(n), n*m.BurstMultiplier) }
	return wrap(m, next, func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Type != pagi.TypeWebSocket {
			return next.Serve(ctx, scope, receive, send)
		}
		c := &limitedSocket{m: &m, scope: scope, receive: receive, send: send}
		c.left = WebSocketBudget{limiter(m.MessagesPerSecond), limiter(m.BytesPerSecond)}
		return next.Serve(ctx, scope.With(scopekey.WebSocketRateLimit, &c.left), c.next, c.event)
	})
}

// limitedSocket is one connection.
type limitedSocket struct {
	m       *WebSocketRateLimit
	scope   *pagi.Scope
	receive pagi.Receive
	send    pagi.Send
	left    WebSocketBudget
	closed  atomic.Bool // by the limit
}

// next is the application's Receive.
func (c *limitedSocket) next(ctx context.Context) (pagi.Event, error) {
	for !c.closed.Load() {
		ev, err := c.receive(ctx)
		message, is := ev.(pagi.WebSocketReceive)
		if !is || err != nil {
			return ev, err
		}
		kind := c.exceeded(len(message.Text) + len(message.Bytes))
		if kind == "" {
			return ev, nil
		}
		closes := c.m.Exceeded == "close"
		if c.m.OnExceeded != nil {
			closes = c.m.OnExceeded(c.scope, kind)
		}
		if closes {
			c.closed.Store(true)
			if err := c.send(ctx, pagi.WebSocketClose{Code: c.m.CloseCode, Reason: c.m.CloseReason}); err != nil {
				return nil, err
			}
		}
	}
	return pagi.WebSocketDisconnect{Code: c.m.CloseCode, Reason: c.m.CloseReason}, nil
}

// exceeded takes a message from what is left, or says of what too little is left.
func (c *limitedSocket) exceeded(size int) (kind string) {
	now := time.Now()
	switch {
	case !c.left.messages.AllowN(now, 1):
		return "messages"
	case !c.left.bytes.AllowN(now, size):
		return "bytes"
	}
	return ""
}

// event is the application's Send. After a close by the limit it does nothing, as after the client
// has gone.
func (c *limitedSocket) event(ctx context.Context, ev pagi.Event) error {
	if c.closed.Load() {
		return nil
	}
	return c.send(ctx, ev)
}
