// Package redispubsub is a pubsub.Broker for several processes and machines that share a Redis 5 or
// later.
//
//	b := &redispubsub.Broker{URL: "redis://localhost:6379/0"}
//	if err := b.Open(ctx); err != nil {
//		return err
//	}
//	defer b.Close()
//
// A message is published by one script, which gives it a number, keeps it, and passes it to all
// processes. So all have the messages of a channel in the same order. A process that has lost its
// connection connects again, and gets what was kept meanwhile. What was not kept is lost to it.
//
// Files: redispubsub.go the Broker, channel.go the channels of this process, receive.go what comes
// from Redis, presence.go members and lists, scripts.go what Redis runs, entry.go how messages are
// written.
package redispubsub

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pagi-go/pagi-bridge/internal/redisclient"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub/internal/message"
)

// DefaultPrefix is in front of the keys and channels of Redis unless Broker.Prefix is set.
const DefaultPrefix = "pagi_pubsub:"

const (
	// DefaultLease is the default of Broker.Lease.
	DefaultLease = 30 * time.Second
	// callTime is how long a call that has no context of its own may take.
	callTime = 5 * time.Second
	// metaTime is how long the numbers of a channel are kept after its last message, at least.
	metaTime = 24 * time.Hour
)

// Broker implements pubsub.Broker. Open must be called before its other methods, and Close at the
// end. The fields must not change meanwhile. A Broker must not be copied.
type Broker struct {
	// URL is the address, redis://user:password@host:port/db, rediss:// for TLS, or unix:///path.
	URL string
	// Client takes the place of URL. The Broker does not close it. It should not retry
	// (redis.Options.MaxRetries -1): a message whose answer was lost would be sent twice.
	Client redis.UniversalClient
	// Prefix is in front of all keys and channels; "" means DefaultPrefix.
	Prefix string
	// MaxChannels is the most channels of this process; 0 means pubsub.DefaultMaxChannels.
	MaxChannels int
	// MaxMessage is the largest message in bytes; 0 means pubsub.DefaultMaxMessage.
	MaxMessage int
	// Lease is how long the members of a process that was killed stay; 0 means DefaultLease.
	Lease time.Duration
	// Logger is told of lost connections; nil means slog.Default.
	Logger *slog.Logger

	policies pubsub.Policies
	node     string // names this process
	life     context.Context
	end      context.CancelFunc
	work     sync.WaitGroup
	up       atomic.Bool // the connection for messages is there
	recount  atomic.Bool // what Redis knows of the subscriptions may be wrong

	mu       sync.Mutex // guards the rest
	client   redis.UniversalClient
	link     *redis.PubSub // nil: none at the moment
	channels map[string]*channel
	// awaited is how many confirmations of a subscription are to come, by channel.
	awaited map[string]int
}

var _ pubsub.Broker = (*Broker)(nil)

// Check reports a URL that is wrong, a Broker with both or none of URL and Client, and limits below
// 0.
func (b *Broker) Check() error {
	if (b.URL == "") == (b.Client == nil) {
		return pagi.BadOption("url", "either the URL or a client is needed")
	}
	if b.MaxChannels < 0 || b.MaxMessage < 0 || b.Lease < 0 {
		return pagi.BadOption("max_channels", "limits must not be below 0")
	}
	if b.Client != nil {
		return nil
	}
	if _, err := redisclient.Options(b.URL); err != nil {
		return pagi.BadOption("url", "it is wrong: %w", err)
	}
	return nil
}

// Open connects, and starts the goroutines that Close ends.
func (b *Broker) Open(ctx context.Context) error {
	if err := b.Check(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.client != nil {
		return errors.New("redispubsub: open already")
	}
	client := b.Client
	if client == nil {
		options, err := redisclient.Options(b.URL)
		if err != nil {
			return err
		}
		client = redis.NewClient(options)
	}
	b.client, b.node = client, rand.Text()
	if err := b.register(ctx); err != nil {
		if b.client = nil; b.Client == nil {
			_ = client.Close() // it has failed already
		}
		return fmt.Errorf("redispubsub: %w", err)
	}
	b.channels, b.awaited = map[string]*channel{}, map[string]int{}
	b.life, b.end = context.WithCancel(context.Background())
	b.link = client.Subscribe(b.life)
	b.up.Store(true)
	b.work.Go(b.receive)
	b.work.Go(b.renew)
	return nil
}

// Close ends all subscriptions behind the messages that are in their queues.
func (b *Broker) Close() error {
	b.mu.Lock()
	if b.client == nil || b.life.Err() != nil {
		b.mu.Unlock()
		return nil
	}
	var channels []*channel
	for _, c := range b.channels {
		channels = append(channels, c)
	}
	b.end()
	link := b.link
	b.mu.Unlock()
	if link != nil {
		_ = link.Close() // so that receive returns
	}
	b.work.Wait()
	for _, c := range channels {
		c.mu.Lock()
		c.subs.End(pubsub.ErrClosed)
		c.mu.Unlock()
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	err := b.forgetNode(ctx)
	if b.Client == nil {
		err = errors.Join(err, b.client.Close())
	}
	return err
}

// check reports why a call cannot be made.
func (b *Broker) check(ctx context.Context, name string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.client == nil || b.life.Err() != nil {
		return pubsub.ErrClosed
	}
	return pubsub.CheckName(name)
}

func (b *Broker) prefix() string {
	if b.Prefix != "" {
		return b.Prefix
	}
	return DefaultPrefix
}

// key returns the name of a key about a channel. Those of one channel are at one place of a
// cluster.
func (b *Broker) key(channel, what string) string { return b.prefix() + "{" + channel + "}:" + what }

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

// Publish implements pubsub.Broker.
func (b *Broker) Publish(ctx context.Context, name string, m pubsub.Message) (string, error) {
	if err := errors.Join(b.check(ctx, name), m.Check()); err != nil {
		return "", err
	}
	if len(m.Data) > or(b.MaxMessage, pubsub.DefaultMaxMessage) {
		return "", pubsub.ErrTooLarge
	}
	bounds := b.policies.Of(name, pubsub.History{})
	payload, err := message.Encode(&m)
	if err != nil {
		return "", err
	}
	reply, err := publishScript.Run(ctx, b.client, []string{b.key(name, "m"), b.key(name, "h")},
		rand.Text(), payload, bounds.Messages, bounds.Bytes, bounds.Age.Milliseconds(),
		max(metaTime, 2*bounds.Age).Milliseconds(), b.key(name, "")).Text()
	if err != nil {
		return "", fmt.Errorf("redispubsub: publish: %w", err)
	}
	return reply, nil
}
