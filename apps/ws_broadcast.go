package apps

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"

	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
	"github.com/pagi-go/pagi-bridge/pagi/websocket"
)

// WebSocketBroadcast sends every message of a client to all others of its channel, and every
// message that is published there to all clients.
//
//	pubsub.Default.Publish(ctx, "default", pubsub.Message{Data: "to everyone"})
//
// With History, a new client first gets the latest messages. A message that is larger than the
// Broker allows closes the connection with 1009.
type WebSocketBroadcast struct {
	Feed `yaml:",inline"`
	// EchoSelf sends a client its own messages, too.
	EchoSelf bool `yaml:"echo_self"`
	// ReadOnly drops what clients send: only the server publishes.
	ReadOnly bool `yaml:"read_only"`
	// Rate is how many messages of a client are taken in a second, with four times as many at once; 0
	// means 100, and below 0 there is no limit. The others wait, so that the client cannot send more.
	Rate int `yaml:"rate" zero:"off"`
}

func init() { parts.App[WebSocketBroadcast]("ws_broadcast", "channel") }

// defaultBroadcastRate is the default of Rate, burstFactor how many times the rate may come at
// once.
const (
	defaultBroadcastRate = 100
	burstFactor          = 4
)

// Check reports options that cannot work.
func (b *WebSocketBroadcast) Check() error { return b.check() }

// Serve answers a websocket scope. A request gets 400.
func (b *WebSocketBroadcast) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type == pagi.TypeLifespan {
		return serveLife(ctx, scope, receive, send, b.Check, b.keep)
	}
	if done, err := refuseSocket(ctx, scope, send); done {
		return err
	}
	if err := errors.Join(b.Check(), b.keep()); err != nil {
		return err
	}
	channel, err := b.open(ctx, scope)
	if err != nil {
		return refuseFeed(ctx, scope, send, err)
	}
	s := newSocket(ctx, scope, receive, send, b.limits())
	defer s.close()
	client := "ws-" + rand.Text() // no other publisher has this name
	options := pubsub.Options{Queue: s.queue, Last: b.History}
	if !b.EchoSelf {
		options.Except = client
	}
	sub, err := b.broker().Subscribe(ctx, channel, options)
	if err != nil {
		return refuseFeed(ctx, scope, send, err)
	}
	defer sub.Close()
	rate := intOr(b.Rate, defaultBroadcastRate)
	limit := newBucket(rate, rate*burstFactor)
	if err := s.conn.Accept(websocket.Accept{}); errors.Is(err, pubsub.ErrSlow) {
		return reply.Status(ctx, scope, send, http.StatusServiceUnavailable)
	} else if err != nil {
		return leftIsNil(ctx, err)
	}
	return s.run(ctx, send, s.sendMessage, func(m pagi.WebSocketReceive) error {
		if b.ReadOnly {
			return nil
		}
		if rate > 0 {
			if err := limit.wait(s.ctx); err != nil {
				return err
			}
		}
		message := pubsub.Message{Data: m.Text, From: client}
		if m.Binary {
			message.Data, message.Binary = string(m.Bytes), true
		}
		_, err := b.broker().Publish(ctx, channel, message)
		if errors.Is(err, pubsub.ErrTooLarge) {
			return s.conn.Close(websocket.CodeTooBig, "")
		}
		return err
	})
}
