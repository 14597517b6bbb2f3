package pubsub

import (
	"strconv"
	"time"
)

// Audience is the subscriptions of a channel in one process. It is for Brokers, which tell it what the
// channel has. Its methods are not safe for concurrent use.
type Audience struct {
	// Guard calls a function as the Broker calls the methods: with the same lock, for example. Tell uses it
	// from another goroutine.
	Guard func(func())

	listeners []*Listener
	count     int         // members, as Tell was told
	counted   time.Time   // when a Count was passed on
	later     *time.Timer // nil: no Count is to come
}

// Listener is a subscription of an Audience.
type Listener struct {
	Queue   *Queue
	Options Options
	index   int // in Audience.listeners
}

// Listen returns a Listener with the Queue of the options, or one of its own.
func Listen(o Options) Listener {
	q := o.Queue
	if q == nil {
		q = NewQueue(Limits{})
	}
	return Listener{Queue: q, Options: o}
}

// Len returns the number of subscriptions.
func (a *Audience) Len() int { return len(a.listeners) }

// All returns the subscriptions. The caller must not change the slice.
func (a *Audience) All() []*Listener { return a.listeners }

// Add adds a subscription.
func (a *Audience) Add(l *Listener) {
	l.index = len(a.listeners)
	a.listeners = append(a.listeners, l)
}

// Remove removes a subscription that was added.
func (a *Audience) Remove(l *Listener) {
	last := len(a.listeners) - 1
	a.listeners[l.index] = a.listeners[last]
	a.listeners[l.index].index = l.index
	a.listeners[last] = nil
	if a.listeners = a.listeners[:last]; last == 0 {
		a.listeners = nil
	}
}

// Pass puts a message of a publisher into the queues, except those of the subscriptions for which skip
// is true. nil skips none.
func (a *Audience) Pass(m *Message, skip func(*Listener) bool) {
	for _, l := range a.listeners {
		if o := &l.Options; (o.Except == "" || o.Except != m.From) && (skip == nil || !skip(l)) {
			l.Queue.Push(m)
		}
	}
}

// Tell puts a message about a member into the queues of the others who have asked for presence. members
// is how many the channel has now. With more than MaxPresence they get a Count instead, now or later.
func (a *Audience) Tell(m *Message, members int) {
	a.count = members
	switch {
	case members <= MaxPresence:
		a.present(m)
	case a.later != nil || m.Kind == Update:
	case time.Since(a.counted) >= CountInterval:
		a.tellCount(m.Channel)
	default:
		a.later = time.AfterFunc(CountInterval-time.Since(a.counted), func() {
			a.Guard(func() {
				a.later = nil
				a.tellCount(m.Channel)
			})
		})
	}
}

func (a *Audience) tellCount(channel string) {
	a.counted = time.Now()
	a.present(&Message{Channel: channel, Kind: Count, Data: strconv.Itoa(a.count), Time: a.counted})
}

// present passes a message on to those who have asked for presence, except the member it is about.
func (a *Audience) present(m *Message) {
	for _, l := range a.listeners {
		if o := &l.Options; o.Presence && (m.From == "" || o.Member.ID != m.From) {
			l.Queue.Push(m)
		}
	}
}

// End ends the queues behind their messages.
func (a *Audience) End(err error) {
	for _, l := range a.listeners {
		l.Queue.End(err)
	}
}
