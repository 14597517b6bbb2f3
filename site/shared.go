package site

import (
	"context"
	"errors"

	"github.com/pagi-go/pagi-bridge/internal/shared"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
)

// Cache is what the applications of a site may keep in the gateway's memory.
type Cache struct {
	// Size is the size of the cache of each namespace in bytes.
	Size int64 `yaml:"size" unit:"bytes" default:"64MiB"`
}

func (c *Cache) check() error {
	if c.Size < 0 {
		return pagi.BadOption("cache.size", "must not be negative, is %d", c.Size)
	}
	return nil
}

// sharesValues reports whether mounts of a kind have a cache and locks.
func sharesValues(kind string) bool { return kind == KindPSGI || kind == KindPerlPAGI }

// share takes over the caches and locks of the predecessor.
func (s *Site) share() {
	if s.Shared == nil && s.predecessor != nil {
		s.Shared = s.predecessor.Shared
	}
}

// namespace names the cache and the locks of a mount.
func (m *Mount) namespace() string {
	if m.Namespace != "" {
		return m.Namespace
	}
	return m.Name()
}

// shareWith returns the right of a mount's workers to its namespace.
func (s *Site) shareWith(m *Mount) *shared.Access { return s.Shared.Access(m.Name(), m.namespace()) }

// Publisher returns what passes on the messages of applications, to the broker that broker returns at that moment.
func Publisher(broker func() pubsub.Broker) func(context.Context, shared.Message) (string, error) {
	return func(ctx context.Context, m shared.Message) (string, error) {
		if err := pubsub.CheckName(m.Channel); err != nil {
			return "", &shared.BadMessage{Err: err}
		}
		message := pubsub.Message{Name: m.Event, Data: m.Data, Binary: m.Binary}
		if err := message.Check(); err != nil {
			return "", &shared.BadMessage{Err: err}
		}
		id, err := broker().Publish(ctx, m.Channel, message)
		if errors.Is(err, pubsub.ErrTooLarge) {
			err = &shared.BadMessage{Err: err}
		}
		return id, err
	}
}
