package natspubsub

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
)

// audience is the subscriptions of this process to a channel.
type audience struct{ pubsub.Audience }

// subscription is the Tie of a subscription. The goroutine of the node owns it.
type subscription struct {
	pubsub.Listener
	node    *node
	channel string
	begun   bool // it is in the audience
	closed  bool
	missed  bool
}

// Subscribe implements pubsub.Broker.
func (b *Broker) Subscribe(ctx context.Context, name string, o pubsub.Options) (*pubsub.Subscription, error) {
	n, err := b.open(ctx, name)
	if err != nil {
		return nil, err
	}
	if err := o.Check(); err != nil {
		return nil, err
	}
	sub := &subscription{Listener: pubsub.Listen(o), node: n, channel: name}
	r := newRequest(op{Kind: opSubscribe, Channel: name, Member: o.Member.ID, Info: o.Member.Info})
	r.then = sub.begin
	tooMany := false
	if err := n.do(ctx, func() {
		tooMany = n.local[name] == nil && len(n.local) >= or(b.MaxChannels, pubsub.DefaultMaxChannels)
	}); err != nil {
		return nil, err
	}
	if tooMany {
		return nil, pubsub.ErrTooMany
	}
	if err := n.ask(ctx, r); err != nil {
		sub.Untie()
		if errors.Is(err, pubsub.ErrClosed) {
			return nil, err
		}
		return nil, fmt.Errorf("natspubsub: subscribe: %w", err)
	}
	return pubsub.NewSubscription(name, &o, sub.Queue, sub.missed, sub), nil
}

// begin adds the subscription to its channel, with what was kept before. The goroutine of the node
// calls it when the subscription is in the log.
func (sub *subscription) begin() {
	n := sub.node
	if sub.closed { // the caller does not wait any more
		n.begin(newRequest(op{Kind: opUnsubscribe, Channel: sub.channel, Member: sub.Options.Member.ID}))
		return
	}
	messages, missed := n.state.choose(sub.channel, &sub.Options)
	sub.Queue.Replay(messages)
	sub.missed, sub.begun = missed, true
	a := n.local[sub.channel]
	if a == nil {
		a = &audience{}
		a.Guard = func(f func()) { _ = n.do(n.life, f) } // a node that has ended has no audience
		n.local[sub.channel] = a
	}
	a.Add(&sub.Listener)
}

// Untie implements pubsub.Tie. It waits until this process has read that the subscription has ended,
// unless there is no leader.
func (sub *subscription) Untie() {
	n := sub.node
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	r := newRequest(op{Kind: opUnsubscribe, Channel: sub.channel, Member: sub.Options.Member.ID})
	r.letGo = true
	err := n.do(ctx, func() {
		sub.closed = true
		if !sub.begun {
			r.finish(nil)
			return
		}
		sub.begun = false
		a := n.local[sub.channel]
		if a.Remove(&sub.Listener); a.Len() == 0 {
			delete(n.local, sub.channel)
		}
		n.begin(r)
	})
	if err != nil {
		return // the node has ended, and with it the subscription
	}
	select {
	case <-r.done:
	case <-ctx.Done():
	}
}

// SetInfo implements pubsub.Tie.
func (sub *subscription) SetInfo(ctx context.Context, info string) error {
	n := sub.node
	id := sub.Options.Member.ID
	if id == "" {
		return pubsub.ErrNoMember
	}
	ended := false
	if err := n.do(ctx, func() { ended = !sub.begun }); err != nil {
		return err
	}
	if ended {
		return pubsub.ErrClosed
	}
	if err := n.ask(ctx, newRequest(op{Kind: opInfo, Channel: sub.channel, Member: id, Info: info})); err != nil {
		return fmt.Errorf("natspubsub: %w", err)
	}
	return nil
}

// hearMember passes a message about a member to the subscriptions of this process.
func (n *node) hearMember(channel string, what pubsub.Kind, id, info string, members int) {
	a := n.local[channel]
	if a == nil {
		return
	}
	if what == pubsub.Update {
		for _, l := range a.All() {
			if l.Options.Member.ID == id {
				l.Options.Member.Info = info // so that it is asked for again with it
			}
		}
	}
	a.Tell(&pubsub.Message{Channel: channel, Kind: what, From: id, Data: info, Time: time.Now()}, members)
}

// passDifferences passes what the log of the leader has and this node has not read: messages that are
// kept, and changes of members.
func (n *node) passDifferences(old, fresh *state) {
	common := old.common(fresh)
	for name, a := range n.local {
		var was, is map[string]*member
		if r := old.rooms[name]; r != nil {
			was = r.members
		}
		if r := fresh.rooms[name]; r != nil {
			is = r.members
			messages, _ := r.kept.After(common)
			for _, m := range messages {
				a.Pass(m, nil)
			}
		}
		for id, m := range was {
			if is[id] == nil && !a.has(id) {
				n.hearMember(name, pubsub.Leave, id, m.info, len(is))
			}
		}
		for id, m := range is {
			switch before := was[id]; {
			case before == nil:
				n.hearMember(name, pubsub.Join, id, m.info, len(is))
			case before.info != m.info:
				n.hearMember(name, pubsub.Update, id, m.info, len(is))
			}
		}
	}
}

// has reports whether a member has a subscription in this process, so that it is about to be in the log
// again.
func (a *audience) has(id string) bool {
	for _, l := range a.All() {
		if l.Options.Member.ID == id {
			return true
		}
	}
	return false
}
