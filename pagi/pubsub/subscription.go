package pubsub

import (
	"context"
	"errors"
	"sync"
)

// Subscription is one subscriber's tie to one channel. Only one goroutine may call Next; the other
// methods are safe for concurrent use.
type Subscription struct {
	channel string
	queue   *Queue
	own     bool // the queue has no other subscription
	missed  bool
	tie     Tie
	once    sync.Once
}

// Tie is a Broker's side of a Subscription.
type Tie interface {
	// Untie ends the subscription. It is called once.
	Untie()
	// SetInfo changes the info of the Member.
	SetInfo(ctx context.Context, info string) error
}

// NewSubscription returns a Subscription of a Broker. missed is what Missed returns.
func NewSubscription(channel string, o *Options, queue *Queue, missed bool, tie Tie) *Subscription {
	return &Subscription{channel: channel, queue: queue, own: o.Queue == nil, missed: missed, tie: tie}
}

// Channel returns the name of the channel.
func (s *Subscription) Channel() string { return s.channel }

// Next is the Next of the Queue. If several subscriptions share that, the message may be one of any
// of their channels.
func (s *Subscription) Next(ctx context.Context) (Message, error) { return s.queue.Next(ctx) }

// Each calls f for every message. It returns nil when the Subscription is closed or ctx has ended, the
// first error of f, or another error of Next.
func (s *Subscription) Each(ctx context.Context, f func(Message) error) error {
	for {
		m, err := s.Next(ctx)
		switch {
		case errors.Is(err, ErrClosed) || err != nil && ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		if err := f(m); err != nil {
			return err
		}
	}
}

// Queue returns where the messages go.
func (s *Subscription) Queue() *Queue { return s.queue }

// Missed reports whether the channel may have had messages after Options.After that are not kept
// any more. It may also be true if there were none.
func (s *Subscription) Missed() bool { return s.missed }

// SetInfo changes the info of Options.Member, which others get as an Update.
func (s *Subscription) SetInfo(ctx context.Context, info string) error {
	if err := checkInfo(info); err != nil {
		return err
	}
	return s.tie.SetInfo(ctx, info)
}

// Close ends the subscription. A Queue of its own ends too; one of Options.Queue stays, with the
// messages that are in it. Closing again does nothing.
func (s *Subscription) Close() {
	s.once.Do(func() {
		s.tie.Untie()
		if s.own {
			s.queue.Close()
		}
	})
}
