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
	if all := larger((*to)[key], h.withDefaults()); all != (*to)[key] {
		(*to)[key] = all
		p.version.Add(1)
	}
	return nil
}

// Of returns the bounds for a channel: the largest of those that apply and of least.
func (p *Policies) Of(channel string, least History) History {
	p.mu.RLock()
	defer p.mu.RUnlock()
	h := larger(least.withDefaults(), p.exact[channel])
	for prefix, more := range p.begin {
		if strings.HasPrefix(channel, prefix) {
			h = larger(h, more)
		}
	}
	return h
}

func larger(a, b History) History {
	return History{Messages: max(a.Messages, b.Messages), Age: max(a.Age, b.Age), Bytes: max(a.Bytes, b.Bytes)}
}

// history is the messages that a channel keeps, the oldest first.
type history struct {
	messages []*Message
	seqs     []int64 // of the messages
	bytes    int
	dropped  int64 // number of the newest message of the channel that is not kept
}

// add keeps a message with its number, and drops what exceeds the bounds.
func (h *history) add(m *Message, seq int64, bounds History) {
	if bounds.Messages == 0 || m.size() > bounds.Bytes {
		h.drop(len(h.messages)) // what is kept must have no gap
		h.dropped = seq
		return
	}
	h.messages, h.seqs = append(h.messages, m), append(h.seqs, seq)
	h.bytes += m.size()
	n := 0
	for over := h.bytes; len(h.messages)-n > bounds.Messages || over > bounds.Bytes; n++ {
		over -= h.messages[n].size()
	}
	h.drop(n)
	h.expire(m.Time, bounds)
}

// expire drops the messages that are too old.
func (h *history) expire(now time.Time, bounds History) {
	n := 0
	for n < len(h.messages) && now.Sub(h.messages[n].Time) > bounds.Age {
		n++
	}
	h.drop(n)
}

// drop drops the n oldest messages. The arrays are made anew when most of their room is unused.
func (h *history) drop(n int) {
	if n == 0 {
		return
	}
	h.dropped = h.seqs[n-1]
	for i, m := range h.messages[:n] {
		h.bytes -= m.size()
		h.messages[i] = nil
	}
	h.messages, h.seqs = h.messages[n:], h.seqs[n:]
	if len(h.messages) == 0 {
		h.messages, h.seqs = nil, nil
	}
}

// after returns the messages after a number. missed says that others were dropped.
func (h *history) after(seq int64) (messages []*Message, missed bool) {
	i := 0
	for i < len(h.seqs) && h.seqs[i] <= seq {
		i++
	}
	return h.messages[i:], seq < h.dropped
}
