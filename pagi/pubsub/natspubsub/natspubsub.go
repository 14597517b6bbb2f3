// Package natspubsub is a pubsub.Broker for several processes that are joined by NATS: a server or a
// cluster that is there already, or servers within the processes (package natsserver).
//
//	b := &natspubsub.Broker{URL: "nats://one:4222,two:4222"}
//	if err := b.Open(ctx); err != nil {
//		return err
//	}
//	defer b.Close()
//
// The processes are nodes that have the same log. One of them, the leader, writes it: messages,
// subscriptions and members, each with the next number. All nodes read it. So all have the messages of a
// channel in the same order, and each has what the channels keep, the members and the counts. A new node
// gets a copy of that. A node that has lost entries asks the leader for them, and passes each on once.
//
// NATS is used as it is by default. JetStream is not used, because it needs a majority of its servers: of
// two gateways, the one that is left would have no history. Here any number may be left, one included.
// What is kept is in the memory of the nodes, and is lost when all of them have ended.
//
// When the leader ends, the nodes that are left choose the one that has read the most. Publishers and new
// subscribers wait meanwhile: about a second when the process was killed, and Lease when its machine is
// gone or hangs. The members of such a node leave as late. An entry that no other node had got when the
// leader was killed is lost, and its message's id is not known any more.
//
// In a partition each side goes on with a leader of its own. When the sides meet, the one with fewer
// nodes takes over the log of the other. Its subscribers get what that has kept since they parted. What
// was published on the smaller side meanwhile is not replayed, and its ids are not known.
//
// Everyone who may publish to the subjects of Prefix in NATS is trusted.
//
// Files: natspubsub.go the Broker, node.go the life of a node, peers.go who is there and who leads,
// log.go how entries come to all, local.go the subscriptions of this process, state.go what the entries
// make, snapshot.go how that is copied, entry.go how entries are written.
package natspubsub

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub/internal/message"
)

const (
	// DefaultPrefix begins the subjects of NATS unless Broker.Prefix is set.
	DefaultPrefix = "pagi_pubsub"
	// DefaultLease is the default of Broker.Lease.
	DefaultLease = 6 * time.Second
	// ticksOfLease is how often in a lease a node tells that it is there.
	ticksOfLease = 12
	// callTime is how long a call may wait for the leader.
	callTime = 10 * time.Second
	// goodbyeTime is how long Close may take to tell the other nodes.
	goodbyeTime = time.Second
)

// errDown says that NATS does not answer at the moment.
var errDown = errors.New("natspubsub: there is no connection to NATS")

// Broker implements pubsub.Broker. Open must be called before its other methods, and Close at the
// end. The fields must not change meanwhile. A Broker must not be copied.
type Broker struct {
	// URL is the address of a server or of several of a cluster:
	// nats://user:password@host:port,nats://host:port. tls:// is for TLS.
	URL string
	// Server takes the place of URL: a server in this process.
	Server nats.InProcessConnProvider
	// Alone is how long Open waits for other nodes before it begins alone; 0 means a sixth of Lease.
	Alone time.Duration
	// Options are further options of the connection, for TLS for example.
	Options []nats.Option
	// Prefix begins the subjects; "" means DefaultPrefix. Brokers with the same Prefix have the same
	// channels.
	Prefix string
	// MaxChannels is the most channels of this process; 0 means pubsub.DefaultMaxChannels.
	MaxChannels int
	// MaxMessage is the largest message in bytes; 0 means pubsub.DefaultMaxMessage. A message may grow to
	// six times its size in NATS, whose limit is 1 MiB by default.
	MaxMessage int
	// TotalHistory is how many bytes all channels keep; 0 means pubsub.DefaultTotalHistory. Over it, the
	// channels whose last message is the oldest lose what they kept. All nodes should have the same.
	TotalHistory int
	// Lease is how long the members of a process that hangs stay; 0 means DefaultLease. All nodes should
	// have the same.
	Lease time.Duration
	// Logger is told of lost connections and nodes; nil means slog.Default.
	Logger *slog.Logger

	policies pubsub.Policies

	mu   sync.Mutex // guards the rest
	node *node      // nil: not open
}

var _ pubsub.Broker = (*Broker)(nil)

// Check reports a URL that is wrong, a Broker with both or none of URL and Server, and limits below 0.
func (b *Broker) Check() error {
	if (b.URL == "") == (b.Server == nil) {
		return pagi.BadOption("url", "either the URL or a server is needed")
	}
	if b.MaxChannels < 0 || b.MaxMessage < 0 || b.TotalHistory < 0 || b.Lease < 0 || b.Alone < 0 {
		return pagi.BadOption("max_channels", "limits must not be below 0")
	}
	if b.URL != "" {
		return checkURL(b.URL)
	}
	return nil
}

// Open connects, joins the other nodes, and starts the goroutines that Close ends.
func (b *Broker) Open(ctx context.Context) error {
	if err := b.Check(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.node != nil {
		return errors.New("natspubsub: open already")
	}
	n, err := newNode(b)
	if err != nil {
		return err
	}
	select {
	case <-n.joined:
	case <-ctx.Done():
		n.stop(false)
		return fmt.Errorf("natspubsub: joining the other nodes: %w", context.Cause(ctx))
	}
	b.node = n
	return nil
}

// Close ends all subscriptions behind the messages that are in their queues.
func (b *Broker) Close() error {
	b.mu.Lock()
	n := b.node
	b.mu.Unlock()
	if n != nil {
		n.stop(true)
	}
	return nil
}

// open returns the node for a call.
func (b *Broker) open(ctx context.Context, name string) (*node, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	b.mu.Lock()
	n := b.node
	b.mu.Unlock()
	if n == nil || n.life.Err() != nil {
		return nil, pubsub.ErrClosed
	}
	return n, pubsub.CheckName(name)
}

func (b *Broker) prefix() string {
	if b.Prefix != "" {
		return b.Prefix
	}
	return DefaultPrefix
}

func (b *Broker) lease() time.Duration {
	if b.Lease > 0 {
		return b.Lease
	}
	return DefaultLease
}

func (b *Broker) logger() *slog.Logger {
	if b.Logger != nil {
		return b.Logger
	}
	return slog.Default()
}

func or(value, otherwise int) int {
	if value == 0 {
		return otherwise
	}
	return value
}

// Keep implements pubsub.Broker. It is about what this process publishes.
func (b *Broker) Keep(channel string, h pubsub.History) error { return b.policies.Keep(channel, h) }

// Publish implements pubsub.Broker. It returns when this process has read the message. A message whose
// Publish has returned the error of its context may still be published.
func (b *Broker) Publish(ctx context.Context, name string, m pubsub.Message) (string, error) {
	n, err := b.open(ctx, name)
	if err := errors.Join(err, m.Check()); err != nil {
		return "", err
	}
	if len(m.Data) > or(b.MaxMessage, pubsub.DefaultMaxMessage) {
		return "", pubsub.ErrTooLarge
	}
	content, err := message.Encode(&m)
	if err != nil {
		return "", err
	}
	bounds := b.policies.Of(name, pubsub.History{})
	r := newRequest(op{Kind: opPublish, Channel: name, Content: content, Bounds: &bounds})
	if err := n.ask(ctx, r); err != nil {
		return "", fmt.Errorf("natspubsub: publish: %w", err)
	}
	return r.id, nil
}

// Members implements pubsub.Broker. It tells what this process has read.
func (b *Broker) Members(ctx context.Context, name string) ([]pubsub.Member, error) {
	n, err := b.open(ctx, name)
	if err != nil {
		return nil, err
	}
	var members []pubsub.Member
	return members, n.do(ctx, func() {
		if r := n.state.rooms[name]; r != nil {
			for _, id := range r.ids() {
				members = append(members, pubsub.Member{ID: id, Info: r.members[id].info})
			}
		}
	})
}

// Channels implements pubsub.Broker. It tells what this process has read.
func (b *Broker) Channels(ctx context.Context, prefix string) ([]pubsub.ChannelInfo, error) {
	n, err := b.open(ctx, "x")
	if err != nil {
		return nil, err
	}
	var all []pubsub.ChannelInfo
	return all, n.do(ctx, func() {
		for _, r := range n.state.sorted(prefix) {
			if count := r.subscribers(); count > 0 {
				all = append(all, pubsub.ChannelInfo{Name: r.name, Subscribers: count})
			}
		}
	})
}
