package pubsub

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults and limits of a History.
const (
	DefaultHistoryAge   = time.Hour
	DefaultHistoryBytes = 1 << 20
	MaxHistoryMessages  = 10_000
	// maxPolicies is how many different names Keep accepts.
	maxPolicies = 1000
)

// History bounds the messages that a channel keeps for new subscribers. The zero value keeps none.
type History struct {
	// Messages is how many messages are kept, at most MaxHistoryMessages.
	Messages int
	// Age is how long a message is kept; 0 means DefaultHistoryAge.
	Age time.Duration
	// Bytes is how many bytes of messages are kept; 0 means DefaultHistoryBytes.
	Bytes int
}

// Check reports bounds that no Broker accepts.
func (h History) Check() error {
	if h.Messages < 0 || h.Messages > MaxHistoryMessages || h.Age < 0 || h.Bytes < 0 {
		return fmt.Errorf("pubsub: a history has 0 to %d messages, and no age or bytes below 0", MaxHistoryMessages)
	}
	return nil
}

func (h History) withDefaults() History {
	if h.Messages == 0 {
		return History{}
	}
	if h.Age == 0 {
		h.Age = DefaultHistoryAge
	}
	if h.Bytes == 0 {
		h.Bytes = DefaultHistoryBytes
	}
	return h
}

// Policies are the bounds that Keep has set, by name. The zero value is ready. All methods are safe
// for concurrent use. It is for Brokers.
type Policies struct {
	version atomic.Int64 // grows with each change

	mu    sync.RWMutex
	exact map[string]History
	begin map[string]History // by what stands before the "*"
}

// Keep adds bounds for a name.
func (p *Policies) Keep(name string, h History) error {
	if err := errors.Join(CheckName(name), h.Check()); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	to, key := &p.exact, name
	if prefix, ok := strings.CutSuffix(name, "*"); ok {
		to, key = &p.begin, prefix
	}
	if _, there := (*to)[key]; !there && len(p.exact)+len(p.begin) >= maxPolicies {
		return fmt.Errorf("pubsub: more than %d names have a history of their own", maxPolicies)
	}
	if *to == nil {
		*to = map[string]History{}
	}
	if all := (*to)[key].Larger(h.withDefaults()); all != (*to)[key] {
		(*to)[key] = all
		p.version.Add(1)
	}
	return nil
}

// Of returns the bounds for a channel: the largest of those that apply and of least.
func (p *Policies) Of(channel string, least History) History {
	p.mu.RLock()
	defer p.mu.RUnlock()
	h := least.withDefaults().Larger(p.exact[channel])
	for prefix, more := range p.begin {
		if strings.HasPrefix(channel, prefix) {
			h = h.Larger(more)
		}
	}
	return h
}

// Larger returns bounds that are the larger ones of both. It is for Brokers.
func (h History) Larger(o History) History {
	return History{Messages: max(h.Messages, o.Messages), Age: max(h.Age, o.Age), Bytes: max(h.Bytes, o.Bytes)}
}
