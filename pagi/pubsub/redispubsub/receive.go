package redispubsub

import (
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
)

const (
	// quiet is how long nothing may come before Redis is asked for a sign of life. When that does not
	// come for as long again, the connection is lost.
	quiet = 10 * time.Second
	// retryFirst and retryMost bound the time between two attempts to connect.
	retryFirst = 20 * time.Millisecond
	retryMost  = 2 * time.Second
)

// receive passes on what comes from Redis, and connects again when the connection is lost.
func (b *Broker) receive() {
	wait := retryFirst
	for b.life.Err() == nil {
		begin := time.Now()
		err := b.listen()
		b.lost(err)
		if time.Since(begin) > retryMost {
			wait = retryFirst
		}
		select {
		case <-b.life.Done():
			return
		case <-time.After(wait):
		}
		wait = min(2*wait, retryMost)
		b.connect()
	}
}

// lost notes that Redis does not answer.
func (b *Broker) lost(err error) {
	b.recount.Store(true)
	if b.life.Err() == nil && b.up.Swap(false) {
		b.logger().Warn("the connection to Redis is lost", "error", err)
	}
}

// connect makes a new connection, and subscribes to the channels.
func (b *Broker) connect() {
	b.mu.Lock()
	defer b.mu.Unlock()
	_ = b.link.Close() // it is broken
	b.link = b.client.Subscribe(b.life)
	clear(b.awaited)
	var names []string
	for name := range b.channels {
		names = append(names, b.key(name, ""))
		b.awaited[name]++
	}
	if len(names) > 0 {
		_ = b.link.Subscribe(b.life, names...) // listen finds the same error
	}
}

// listen handles what comes by the connection until that fails.
func (b *Broker) listen() error {
	b.mu.Lock()
	link := b.link
	b.mu.Unlock()
	if err := link.Ping(b.life); err != nil { // also connects without a channel
		return err
	}
	asked := true
	for {
		got, err := link.ReceiveTimeout(b.life, quiet)
		var late net.Error
		switch {
		case errors.As(err, &late) && late.Timeout() && !asked:
			asked = true
			if err := link.Ping(b.life); err != nil {
				return err
			}
			continue
		case err != nil:
			return err
		}
		asked = false
		if !b.up.Swap(true) {
			b.logger().Info("the connection to Redis is back")
		}
		switch m := got.(type) {
		case *redis.Subscription:
			if m.Kind == "subscribe" {
				b.confirm(b.nameOf(m.Channel))
			}
		case *redis.Message:
			b.deliver(b.nameOf(m.Channel), m.Payload)
		}
	}
}

// nameOf returns the channel of a channel of Redis.
func (b *Broker) nameOf(channel string) string {
	return strings.TrimSuffix(strings.TrimPrefix(channel, b.prefix()+"{"), "}:")
}

func (b *Broker) find(name string) *channel {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.channels[name]
}

// confirm notes that Redis has subscribed this process to a channel. If it was subscribed before,
// the connection was lost, and what was kept meanwhile is passed on.
func (b *Broker) confirm(name string) {
	b.mu.Lock()
	if b.awaited[name]--; b.awaited[name] > 0 {
		b.mu.Unlock()
		return
	}
	delete(b.awaited, name)
	c := b.channels[name]
	again := c != nil && c.confirmed
	if c != nil && !c.confirmed {
		c.confirmed = true
		close(c.ready)
	}
	b.mu.Unlock()
	if again {
		b.catchUp(c)
	}
}

// catchUp passes on the messages that have come while there was no connection.
func (b *Broker) catchUp(c *channel) {
	ctx, cancel := context.WithTimeout(b.life, callTime)
	defer cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	state, err := b.read(ctx, c.name, true)
	if err != nil {
		b.lost(err)
		return
	}
	for i, m := range state.kept {
		c.pass(m, state.places[i])
	}
}

// deliver passes on what was published to a channel.
func (b *Broker) deliver(name, text string) {
	c := b.find(name)
	if c == nil || text == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if kind, ok := kinds[text[0]]; ok {
		count, rest, _ := strings.Cut(text[1:], " ")
		members, err := strconv.Atoi(count)
		if err != nil {
			b.logger().Warn("a message from Redis is dropped", "channel", c.name, "error", errEntry)
			return
		}
		id, info, _ := strings.Cut(rest, "\n")
		c.subs.Tell(&pubsub.Message{Channel: c.name, Kind: kind, From: id, Data: info, Time: time.Now()}, members)
		return
	}
	m, p, err := decode(c.name, text[1:])
	if err != nil || text[0] != entryData {
		b.logger().Warn("a message from Redis is dropped", "channel", c.name, "error", err)
		return
	}
	c.pass(m, p)
}

// pass puts a message into the queues. mu is held.
func (c *channel) pass(m *pubsub.Message, at place) {
	if !at.IsAfter(c.last) {
		return // it has come already
	}
	c.last = at
	c.subs.Pass(m, func(l *pubsub.Listener) bool { return !at.IsAfter(c.after[l]) })
}
