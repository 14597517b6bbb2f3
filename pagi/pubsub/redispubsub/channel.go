package redispubsub

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub/internal/message"
)

// channel is a channel with subscribers in this process.
type channel struct {
	name  string
	users int // subscriptions, and calls of Subscribe; guarded by Broker.mu
	// ready is closed when Redis has confirmed the subscription.
	ready     chan struct{}
	confirmed bool // guarded by Broker.mu

	mu      sync.Mutex // guards the rest; held during calls that must not overtake one another
	last    place      // of the last message that was passed on
	subs    pubsub.Audience
	after   map[*pubsub.Listener]place // messages up to here are not for it
	members map[string]int             // subscriptions by member
}

// subscription is the Tie of a subscription.
type subscription struct {
	pubsub.Listener
	broker  *Broker
	channel *channel
}

// hold returns a channel to which Redis is asked to subscribe this process, if it is not.
func (b *Broker) hold(name string) (*channel, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.channels[name]
	if c == nil {
		if len(b.channels) >= or(b.MaxChannels, pubsub.DefaultMaxChannels) {
			return nil, pubsub.ErrTooMany
		}
		c = &channel{name: name, ready: make(chan struct{}), after: map[*pubsub.Listener]place{}}
		c.subs.Guard = c.guard
		b.channels[name] = c
		if b.link != nil { // else receive subscribes
			b.awaited[name]++
			if err := b.link.Subscribe(b.life, b.key(name, "")); err != nil {
				_ = b.link.Close() // receive makes another one, and subscribes
			}
		}
	}
	c.users++
	return c, nil
}

func (c *channel) guard(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// release ends a hold.
func (b *Broker) release(c *channel) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c.users--
	if c.users > 0 {
		return
	}
	delete(b.channels, c.name)
	if b.link != nil {
		if err := b.link.Unsubscribe(b.life, b.key(c.name, "")); err != nil {
			_ = b.link.Close()
		}
	}
}

// Subscribe implements pubsub.Broker.
func (b *Broker) Subscribe(ctx context.Context, name string, o pubsub.Options) (*pubsub.Subscription, error) {
	if err := b.check(ctx, name); err != nil {
		return nil, err
	}
	if err := o.Check(); err != nil {
		return nil, err
	}
	c, err := b.hold(name)
	if err != nil {
		return nil, err
	}
	select {
	case <-c.ready:
	case <-ctx.Done():
		b.release(c)
		return nil, context.Cause(ctx)
	case <-b.life.Done():
		return nil, pubsub.ErrClosed
	}
	sub := &subscription{Listener: pubsub.Listen(o), broker: b, channel: c}
	missed, err := sub.begin(ctx)
	if err != nil {
		b.release(c)
		return nil, fmt.Errorf("redispubsub: subscribe: %w", err)
	}
	return pubsub.NewSubscription(name, &o, sub.Queue, missed, sub), nil
}

// begin adds the subscription to its channel. What comes from Redis waits meanwhile, so that it
// follows what was kept.
func (sub *subscription) begin(ctx context.Context) (missed bool, err error) {
	b, c, o := sub.broker, sub.channel, &sub.Options
	c.mu.Lock()
	defer c.mu.Unlock()
	state, err := b.read(ctx, c.name, o.After != "" || o.Last != 0)
	if err != nil {
		return false, err
	}
	if c.subs.Len() == 0 {
		c.last = state.last
	}
	if err := b.join(ctx, sub); err != nil {
		return false, err
	}
	messages, missed := state.choose(o)
	sub.Queue.Replay(messages)
	c.subs.Add(&sub.Listener)
	c.after[&sub.Listener] = state.last
	if err := b.count(ctx, c); err != nil {
		b.lost(err) // renew counts again
	}
	return missed, nil
}

// state is what Redis has of a channel.
type state struct {
	last   place
	kept   []*pubsub.Message
	places []place // of kept
}

// read asks Redis for the state of a channel. Messages that are too old are left out.
func (b *Broker) read(ctx context.Context, name string, messages bool) (*state, error) {
	all := "0"
	if messages {
		all = "1"
	}
	reply, err := readScript.Run(ctx, b.client, []string{b.key(name, "m"), b.key(name, "h")}, all).Slice()
	if err != nil {
		return nil, err
	}
	if len(reply) != 4 {
		return nil, errEntry
	}
	epoch, _ := reply[0].(string)
	seqText, _ := reply[1].(string)
	nowText, _ := reply[2].(string)
	entries, _ := reply[3].([]any)
	seq, err := strconv.ParseInt(seqText, 10, 64)
	now, err2 := strconv.ParseInt(nowText, 10, 64)
	if err != nil || err2 != nil {
		return nil, errEntry
	}
	s := &state{last: place{Epoch: epoch, Seq: seq}}
	oldest := time.UnixMilli(now).Add(-b.policies.Of(name, pubsub.History{}).Age)
	for _, entry := range entries {
		text, _ := entry.(string)
		m, p, err := decode(name, text)
		if err != nil {
			return nil, err
		}
		if m.Time.After(oldest) {
			s.kept, s.places = append(s.kept, m), append(s.places, p)
		}
	}
	return s, nil
}

// choose returns the kept messages that the options ask for. The numbers of kept messages have no
// gap.
func (s *state) choose(o *pubsub.Options) (messages []*pubsub.Message, missed bool) {
	messages = s.kept
	if o.After != "" {
		after, ok := message.ParseID(o.After)
		if ok && after.Epoch == s.last.Epoch && after.Seq > 0 && after.Seq <= s.last.Seq {
			messages, missed = s.following(after.Seq)
		} else {
			missed = true
		}
	}
	return o.Newest(messages, missed)
}

// following returns the kept messages after a number, and whether others were between.
func (s *state) following(seq int64) (messages []*pubsub.Message, missed bool) {
	for i, p := range s.places {
		if p.Seq > seq {
			return s.kept[i:], p.Seq > seq+1
		}
	}
	return nil, seq < s.last.Seq
}

// Untie implements pubsub.Tie.
func (sub *subscription) Untie() {
	b, c := sub.broker, sub.channel
	ctx, cancel := context.WithTimeout(b.life, callTime)
	defer cancel()
	c.mu.Lock()
	c.subs.Remove(&sub.Listener)
	delete(c.after, &sub.Listener)
	b.leave(ctx, sub)
	if err := b.count(ctx, c); err != nil {
		b.lost(err)
	}
	c.mu.Unlock()
	b.release(c)
}
