package pubsub

import "time"

// Kept is the messages that a channel keeps, the oldest first, each with a number that grows. It is for
// Brokers. The zero value is empty. Its methods are not safe for concurrent use.
type Kept struct {
	messages []*Message
	seqs     []int64 // of the messages
	bytes    int
	dropped  int64
}

// Add keeps a message with its number, and drops what exceeds the bounds.
func (k *Kept) Add(m *Message, seq int64, bounds History) {
	if bounds.Messages == 0 || m.size() > bounds.Bytes {
		k.drop(len(k.messages)) // what is kept must have no gap
		k.dropped = seq
		return
	}
	k.messages, k.seqs = append(k.messages, m), append(k.seqs, seq)
	k.bytes += m.size()
	n := 0
	for over := k.bytes; len(k.messages)-n > bounds.Messages || over > bounds.Bytes; n++ {
		over -= k.messages[n].size()
	}
	k.drop(n)
	k.Expire(m.Time, bounds)
}

// Expire drops the messages that are too old.
func (k *Kept) Expire(now time.Time, bounds History) {
	n := 0
	for n < len(k.messages) && now.Sub(k.messages[n].Time) > bounds.Age {
		n++
	}
	k.drop(n)
}

// Clear drops all messages.
func (k *Kept) Clear() { k.drop(len(k.messages)) }

// drop drops the n oldest messages. The arrays are made anew when most of their room is unused.
func (k *Kept) drop(n int) {
	if n == 0 {
		return
	}
	k.dropped = k.seqs[n-1]
	for i, m := range k.messages[:n] {
		k.bytes -= m.size()
		k.messages[i] = nil
	}
	k.messages, k.seqs = k.messages[n:], k.seqs[n:]
	if len(k.messages) == 0 {
		k.messages, k.seqs = nil, nil
	}
}

// After returns the messages after a number. missed says that others were dropped.
func (k *Kept) After(seq int64) (messages []*Message, missed bool) {
	i := 0
	for i < len(k.seqs) && k.seqs[i] <= seq {
		i++
	}
	return k.messages[i:], seq < k.dropped
}

// All returns the messages and their numbers. The caller must not change the slices, which are valid
// until the next call of another method.
func (k *Kept) All() (messages []*Message, seqs []int64) { return k.messages, k.seqs }

// Bytes returns what the messages count in History.Bytes.
func (k *Kept) Bytes() int { return k.bytes }

// Dropped returns the number of the newest message of the channel that is not kept.
func (k *Kept) Dropped() int64 { return k.dropped }

// Begin notes, in a Kept that is empty, the number of the newest message that is not kept.
func (k *Kept) Begin(dropped int64) { k.dropped = dropped }
