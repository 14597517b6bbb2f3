package pubsub

// Audience is the subscriptions of a channel in one process. It is for Brokers, which tell it what the
// channel has. The zero value is empty. Its methods are not safe for concurrent use.
type Audience struct {
	listeners []*Listener
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

// Tell puts a message about a member into the queues of the others who have asked for presence.
func (a *Audience) Tell(m *Message) {
	for _, l := range a.listeners {
		if o := &l.Options; o.Presence && o.Member.ID != m.From {
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
