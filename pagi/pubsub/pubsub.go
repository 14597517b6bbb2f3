// Package pubsub passes messages from publishers to the subscribers of channels. Everything that
// sends to many clients is written against its one interface, Broker: event streams, WebSockets,
// chats.
//
//	sub, err := pubsub.Default.Subscribe(ctx, "news", pubsub.Options{})
//	if err != nil {
//		return err
//	}
//	defer sub.Close()
//	for {
//		m, err := sub.Next(ctx)
//		if err != nil {
//			return err
//		}
//		// use m.Data
//	}
//
// Memory is the Broker of one process. Packages redispubsub and natspubsub have one each for several
// machines, and package pubsubtest the suite that every Broker passes.
//
// A publisher never waits for a subscriber. Each subscriber has a Queue with a limit, and a Policy
// for the time when that is full.
//
// Files: pubsub.go has the interface, queue.go the subscriber's end, subscription.go what ties the
// two. memory.go is the Broker in memory; history.go has bounds of what is kept, kept.go what is, and
// audience.go the subscriptions of a channel, for all Brokers. The package may import package pagi, and must
// know nothing of scopes and servers.
package pubsub

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"
)

// Broker passes messages on. All methods are safe for concurrent use.
//
// The name of a channel is UTF-8 of 1 to MaxName bytes without control characters. Every subscriber
// of a channel gets its messages in the same order, the order of their ids.
type Broker interface {
	// Publish sends a message to the subscribers of a channel, and returns the id that it got. The
	// Broker sets ID, Channel, Kind and Time. A channel without subscribers is no error.
	Publish(ctx context.Context, channel string, m Message) (id string, err error)
	// Subscribe begins a subscription. The caller must close it. ctx is for the call alone.
	Subscribe(ctx context.Context, channel string, o Options) (*Subscription, error)
	// Members returns who is in a channel, in the order in which they came.
	Members(ctx context.Context, channel string) ([]Member, error)
	// Channels returns the channels with subscribers whose names begin with prefix, by name.
	Channels(ctx context.Context, prefix string) ([]ChannelInfo, error)
	// Keep makes a channel keep its latest messages for new subscribers. A name that ends in "*"
	// stands for all channels that begin with what is before it. Where several apply, the largest
	// bounds count. Keep is called before the messages that it is about.
	Keep(channel string, h History) error
}

// Limits of all Brokers.
const (
	// MaxName is the length of the name of a channel, an event or a member in bytes.
	MaxName = 200
	// MaxInfo is the length of Member.Info in bytes.
	MaxInfo = 1 << 10
	// MaxPresence is how many members a channel may have for each of them to be told of the others. Each
	// message about a member goes to all of them, so that a large channel would pass on the square of
	// their number.
	MaxPresence = 100
	// CountInterval is the shortest time between two messages of kind Count of a channel.
	CountInterval = time.Second
)

// Errors of Brokers and Queues.
var (
	// ErrClosed says that the Broker, the Queue or the Subscription is closed.
	ErrClosed = errors.New("pubsub: closed")
	// ErrSlow says that a Queue was full, and its Policy is Shed.
	ErrSlow = errors.New("pubsub: the subscriber is too slow")
	// ErrTooLarge says that a message is larger than the Broker allows.
	ErrTooLarge = errors.New("pubsub: the message is too large")
	// ErrTooMany says that a Broker has as many channels as it allows.
	ErrTooMany = errors.New("pubsub: too many channels")
	// ErrBadName is wrapped by the error for a name of a channel, an event or a member.
	ErrBadName = errors.New("pubsub: bad name")
	// ErrNoMember says that a subscription without a Member has no info to set.
	ErrNoMember = errors.New("pubsub: the subscription has no member")
)

// Kind says what a Message tells.
type Kind uint8

// The kinds of messages. All but Data are for subscriptions with Options.Presence. All but Count tell
// of a Member: From is its ID, and Data its Info.
const (
	// Data is a message of a publisher.
	Data Kind = iota
	// Join says that a member has come.
	Join
	// Leave says that a member has left with its last subscription.
	Leave
	// Update says that a member's info has changed.
	Update
	// Count comes instead of the others while a channel has more than MaxPresence members: Data is how
	// many there are, and From is empty. Broker.Members has the list.
	Count
)

// Message is one message of a channel.
type Message struct {
	// ID is unique in the channel; "" for kinds other than Data. Options.After takes it.
	ID string
	// Channel is the name of the channel.
	Channel string
	// Kind is Data, or what has happened to a member.
	Kind Kind
	// Name is the name of an event stream's event; "" for none.
	Name string
	// Data is the content: UTF-8, unless Binary is set.
	Data   string
	Binary bool
	// From names the publisher; "" for none. Options.Except compares it.
	From string
	// Time is when the message was published.
	Time time.Time
}

// size is what a message counts in limits: its texts and a share for the rest.
func (m *Message) size() int {
	return len(m.ID) + len(m.Channel) + len(m.Name) + len(m.Data) + len(m.From) + 64
}

// Check reports texts that no Broker accepts.
func (m *Message) Check() error {
	if m.Name != "" {
		if err := CheckName(m.Name); err != nil {
			return err
		}
	}
	if m.From != "" {
		if err := CheckName(m.From); err != nil {
			return err
		}
	}
	if !m.Binary && !utf8.ValidString(m.Data) {
		return errors.New("pubsub: the data of a text message is not UTF-8")
	}
	return nil
}

// Member is someone who is in a channel.
type Member struct {
	// ID identifies the member. Subscriptions with the same ID are one member.
	ID string
	// Info is what others may know, a name for example: UTF-8 of at most MaxInfo bytes.
	Info string
}

// Check reports texts that no Broker accepts. The zero Member is correct: it is none.
func (m Member) Check() error {
	if m == (Member{}) {
		return nil
	}
	if err := CheckName(m.ID); err != nil {
		return err
	}
	return checkInfo(m.Info)
}

func checkInfo(info string) error {
	if len(info) > MaxInfo || !utf8.ValidString(info) {
		return fmt.Errorf("pubsub: the info of a member must be UTF-8 of at most %d bytes", MaxInfo)
	}
	return nil
}

// ChannelInfo describes a channel.
type ChannelInfo struct {
	Name string
	// Subscribers is the number of subscriptions.
	Subscribers int
}

// Options are those of a subscription. The zero value gets the messages from now on.
type Options struct {
	// After is the id of the last message that the subscriber has. What the channel has kept after it
	// comes first. If the channel does not know the id, all that it has kept comes, and
	// Subscription.Missed is true.
	After string
	// Last is how many of the latest kept messages come first when After is ""; with After it is the
	// most that come, and 0 means all. Below 0, all come in both cases.
	Last int
	// Member is who subscribes; the zero Member is not in the channel.
	Member Member
	// Presence asks for the messages about other members, or for Counts if there are many.
	Presence bool
	// Except leaves out the messages From this publisher; "" leaves out none.
	Except string
	// Queue is where the messages go. Several subscriptions may share it. nil makes one of the zero
	// Limits.
	Queue *Queue
}

// Check reports texts that no Broker accepts.
func (o *Options) Check() error { return o.Member.Check() }

// Newest is for a Broker. Of the kept messages that a subscriber has not seen, it returns as many of the
// latest as Last allows. missed tells whether the channel has dropped others before; it becomes true if
// Newest leaves out messages that follow After.
func (o *Options) Newest(messages []*Message, missed bool) ([]*Message, bool) {
	most := o.Last
	if o.After != "" && most == 0 {
		most = -1
	}
	if most >= 0 && len(messages) > most {
		return messages[len(messages)-most:], o.After != ""
	}
	return messages, missed
}

// CheckName reports the name of a channel, an event or a member that no Broker accepts.
func CheckName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: it is empty", ErrBadName)
	case len(name) > MaxName:
		return fmt.Errorf("%w: it has %d bytes, more than %d", ErrBadName, len(name), MaxName)
	case !utf8.ValidString(name):
		return fmt.Errorf("%w: it is not UTF-8", ErrBadName)
	}
	for _, r := range name {
		if unicode.IsControl(r) {
			return fmt.Errorf("%w: %q has a control character", ErrBadName, name)
		}
	}
	return nil
}

// Default is the Broker of applications that name no other. All of a process share it.
var Default Broker = &Memory{}
