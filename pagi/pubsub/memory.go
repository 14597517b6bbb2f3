package pubsub

import (
	"cmp"
	"container/list"
	"context"
	"crypto/rand"
	"encoding/hex"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Defaults of Memory.
const (
	DefaultMaxChannels   = 1 << 16
	DefaultMaxMessage    = 64 << 10
	DefaultTotalHistory  = 64 << 20
	shardCount           = 16
	expiredAtOnce        = 2 // histories that a publisher may remove besides its own work
	memoryIDSeparator    = "-"
	memoryIDRandomLength = 6
)

// Memory is a Broker for one process. The zero value is ready. It has no goroutine of its own: publishers
// and subscribers do the work. A channel is there while it has subscribers or messages that are kept.
// The fields must not change once it is used, and a Memory must not be copied.
//
// Ids of messages have a part that is random for each Memory. So the id from before a restart is
// not known, and all that is kept comes.
type Memory struct {
	// MaxChannels is the most channels; 0 means DefaultMaxChannels. A channel without subscribers
	// makes room for a new one, with its kept messages.
	MaxChannels int
	// MaxMessage is the largest message in bytes; 0 means DefaultMaxMessage.
	MaxMessage int
	// History bounds what every channel keeps; Keep may extend it.
	History History
	// TotalHistory is how many bytes all channels keep; 0 means DefaultTotalHistory. Over it, the
	// channels whose last message is the oldest lose what they kept.
	TotalHistory int

	policies Policies
	begin    sync.Once
	epoch    string
	seed     maphash.Seed
	last     atomic.Int64 // number of the newest message
	channels atomic.Int64
	closed   atomic.Bool
	shards   [shardCount]shard
}

var _ Broker = (*Memory)(nil)

// shard has some of the channels. Its mu may be taken by a goroutine that holds no other lock, and
// is not held while messages are passed on.
type shard struct {
	mu       sync.Mutex
	channels map[string]*channel
	recent   list.List // *channel with kept messages; the front has published last
	bytes    int       // of kept messages
	// forgotten is the number of the newest message that was published to a channel that is no more.
	forgotten int64
}

// channel is a channel of a shard.
type channel struct {
	name string

	// Guarded by the shard's mu:
	users   int           // subscriptions and calls that hold the channel
	place   *list.Element // in recent; nil: nothing is kept
	charged int           // bytes that the shard counts for it

	keeps atomic.Int64 // bytes of kept messages; written with mu held

	mu      sync.Mutex // guards the rest
	kept    Kept
	bounds  History
	version int64 // of the policies that bounds follow
	last    int64 // number of the newest message
	subs    Audience
	members map[string]*member
	came    int // members so far
}

// member is a Member with the number of its subscriptions, and its place in the order in which the
// members came.
type member struct {
	Member
	subs  int
	place int
}

// memorySub is a subscription. It is the Tie.
type memorySub struct {
	Listener
	memory  *Memory
	shard   *shard
	channel *channel
	member  *member // nil: none
}

func (b *Memory) open() error {
	b.begin.Do(func() {
		var random [memoryIDRandomLength]byte
		rand.Read(random[:])
		b.epoch, b.seed = hex.EncodeToString(random[:])+memoryIDSeparator, maphash.MakeSeed()
		for i := range b.shards {
			b.shards[i].channels = map[string]*channel{}
		}
	})
	if b.closed.Load() {
		return ErrClosed
	}
	return nil
}

func (b *Memory) shard(channel string) *shard {
	return &b.shards[maphash.String(b.seed, channel)%shardCount]
}

func (b *Memory) id(seq int64) string { return b.epoch + strconv.FormatInt(seq, 10) }

// seq returns the number in an id of this Memory.
func (b *Memory) seq(id string) (seq int64, ok bool) {
	text, ok := strings.CutPrefix(id, b.epoch)
	if !ok {
		return 0, false
	}
	seq, err := strconv.ParseInt(text, 10, 64)
	return seq, err == nil && seq > 0 && seq <= b.last.Load() && b.id(seq) == id
}

// Keep implements Broker.
func (b *Memory) Keep(channel string, h History) error { return b.policies.Keep(channel, h) }

// Publish implements Broker.
func (b *Memory) Publish(ctx context.Context, name string, m Message) (string, error) {
	if err := b.check(ctx, name); err != nil {
		return "", err
	}
	if err := m.Check(); err != nil {
		return "", err
	}
	if len(m.Data) > or(b.MaxMessage, DefaultMaxMessage) {
		return "", ErrTooLarge
	}
	s := b.shard(name)
	c, seq, err := b.hold(s, name, false)
	switch {
	case err != nil:
		return "", err
	case c == nil: // the channel has no subscriber, and keeps nothing
		return b.id(seq), nil
	}
	m.Channel, m.Kind = name, Data
	c.mu.Lock()
	m.Time = time.Now()
	c.last = b.last.Add(1)
	m.ID = b.id(c.last)
	c.kept.Add(&m, c.last, b.boundsOf(c))
	c.keeps.Store(int64(c.kept.Bytes()))
	c.subs.Pass(&m, nil)
	c.mu.Unlock()
	b.release(s, c, true)
	return m.ID, nil
}

func (b *Memory) check(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if err := b.open(); err != nil {
		return err
	}
	return CheckName(name)
}

func or(value, otherwise int) int {
	if value == 0 {
		return otherwise
	}
	return value
}

// boundsOf returns the bounds of what a channel keeps. c.mu is held.
func (b *Memory) boundsOf(c *channel) History {
	if v := b.policies.version.Load(); v != c.version || c.bounds == (History{}) {
		c.bounds, c.version = b.policies.Of(c.name, b.History), v
	}
	return c.bounds
}

// hold returns a channel that stays until release. If there is none, it makes one for a subscriber,
// or if its messages are kept. Else the channel is nil, and seq is a number for a message that no
// one gets.
func (b *Memory) hold(s *shard, name string, subscribe bool) (c *channel, seq int64, err error) {
	for {
		c, seq, err = b.tryHold(s, name, subscribe)
		if err == nil || !b.forgetElsewhere(s) {
			return c, seq, err
		}
	}
}

// forgetElsewhere makes room for a channel in the shards other than s.
func (b *Memory) forgetElsewhere(s *shard) bool {
	for i := range b.shards {
		other := &b.shards[i]
		if other == s {
			continue
		}
		other.mu.Lock()
		done := b.forgetOne(other)
		other.mu.Unlock()
		if done {
			return true
		}
	}
	return false
}

func (b *Memory) tryHold(s *shard, name string, subscribe bool) (c *channel, seq int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c = s.channels[name]
	if c == nil && !subscribe && b.policies.Of(name, b.History).Messages == 0 {
		s.forgotten = b.last.Add(1)
		return nil, s.forgotten, nil
	}
	if c == nil {
		if b.channels.Add(1) > int64(or(b.MaxChannels, DefaultMaxChannels)) && !b.forgetOne(s) {
			b.channels.Add(-1)
			return nil, 0, ErrTooMany
		}
		c = &channel{name: name}
		c.subs.Guard = c.guard
		c.kept.Begin(s.forgotten)
		c.last = s.forgotten
		s.channels[name] = c
	}
	c.users++
	return c, 0, nil
}

// forgetOne removes the channel without users whose last message is the oldest. s.mu is held.
func (b *Memory) forgetOne(s *shard) bool {
	for e := s.recent.Back(); e != nil; e = e.Prev() {
		if c := e.Value.(*channel); c.users == 0 {
			b.forget(s, c)
			return true
		}
	}
	return false
}

// forget removes a channel without users. s.mu is held.
func (b *Memory) forget(s *shard, c *channel) {
	s.uncharge(c)
	s.forgotten = max(s.forgotten, c.last)
	delete(s.channels, c.name)
	b.channels.Add(-1)
}

// uncharge takes a channel off the list of those that keep messages. s.mu is held.
func (s *shard) uncharge(c *channel) {
	if c.place != nil {
		s.recent.Remove(c.place)
		s.bytes -= c.charged
		c.place, c.charged = nil, 0
	}
}

// release ends a hold of a channel after its work, and removes what is not needed any more.
func (b *Memory) release(s *shard, c *channel, published bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.users--
	s.charge(c)
	if published && c.place != nil {
		s.recent.MoveToFront(c.place)
	}
	if c.users == 0 && c.place == nil {
		b.forget(s, c)
	}
	b.tidy(s)
}

// charge notes how much a channel keeps. s.mu is held, so that the value that is noted last is the
// latest.
func (s *shard) charge(c *channel) {
	bytes := int(c.keeps.Load())
	if bytes == 0 {
		s.uncharge(c)
		return
	}
	if c.place == nil {
		c.place = s.recent.PushFront(c)
	}
	s.bytes += bytes - c.charged
	c.charged = bytes
}

// tidy removes kept messages that are too old or too many for the shard. s.mu is held. A channel at
// work is left alone: its lock is held while it passes a message on, and it has one that is new.
func (b *Memory) tidy(s *shard) {
	now, seen := time.Now(), 0
	for e := s.recent.Back(); e != nil; {
		c, before := e.Value.(*channel), e.Prev()
		over := s.bytes > or(b.TotalHistory, DefaultTotalHistory)/shardCount
		if seen++; !over && seen > expiredAtOnce {
			return
		}
		if c.mu.TryLock() {
			if over {
				c.kept.Clear()
			} else {
				c.kept.Expire(now, b.boundsOf(c))
			}
			c.keeps.Store(int64(c.kept.Bytes()))
			c.mu.Unlock()
			s.charge(c)
			if c.place == nil && c.users == 0 {
				b.forget(s, c)
			}
		}
		e = before
	}
}

func (c *channel) guard(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
}

// tell passes a message about a member on. mu is held.
func (c *channel) tell(kind Kind, about *member) {
	c.subs.Tell(&Message{Channel: c.name, Kind: kind, From: about.ID, Data: about.Info, Time: time.Now()}, len(c.members))
}

// Subscribe implements Broker.
func (b *Memory) Subscribe(ctx context.Context, name string, o Options) (*Subscription, error) {
	if err := b.check(ctx, name); err != nil {
		return nil, err
	}
	if err := o.Check(); err != nil {
		return nil, err
	}
	s := b.shard(name)
	c, _, err := b.hold(s, name, true)
	if err != nil {
		return nil, err
	}
	sub := &memorySub{Listener: Listen(o), memory: b, shard: s, channel: c}
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.closed.Load() { // Close may have passed this channel
		sub.Queue.End(ErrClosed)
	}
	c.kept.Expire(time.Now(), b.boundsOf(c))
	c.keeps.Store(int64(c.kept.Bytes()))
	missed := sub.replay()
	c.subs.Add(&sub.Listener)
	sub.join()
	return NewSubscription(name, &o, sub.Queue, missed, sub), nil
}

// replay puts the kept messages that the options ask for into the queue. The channel's mu is held.
func (sub *memorySub) replay() (missed bool) {
	o, kept := &sub.Options, &sub.channel.kept
	messages, _ := kept.All()
	if o.After != "" {
		if seq, ok := sub.memory.seq(o.After); ok {
			messages, missed = kept.After(seq)
		} else {
			missed = true
		}
	}
	messages, missed = o.Newest(messages, missed)
	sub.Queue.Replay(messages)
	return missed
}

// join makes the subscription one of a member. The channel's mu is held.
func (sub *memorySub) join() {
	c, who := sub.channel, sub.Options.Member
	if who.ID == "" {
		return
	}
	if m := c.members[who.ID]; m != nil {
		sub.member = m
		m.subs++
		return
	}
	c.came++
	sub.member = &member{who, 1, c.came}
	if c.members == nil {
		c.members = map[string]*member{}
	}
	c.members[who.ID] = sub.member
	c.tell(Join, sub.member)
}

// Untie implements Tie.
func (sub *memorySub) Untie() {
	c := sub.channel
	c.mu.Lock()
	c.subs.Remove(&sub.Listener)
	if m := sub.member; m != nil {
		if m.subs--; m.subs == 0 {
			delete(c.members, m.ID)
			c.tell(Leave, m)
		}
	}
	c.mu.Unlock()
	sub.memory.release(sub.shard, c, false)
}

// SetInfo implements Tie.
func (sub *memorySub) SetInfo(_ context.Context, info string) error {
	if sub.member == nil {
		return ErrNoMember
	}
	c := sub.channel
	c.mu.Lock()
	defer c.mu.Unlock()
	if sub.member.subs == 0 {
		return ErrClosed
	}
	if sub.member.Info != info {
		sub.member.Info = info
		c.tell(Update, sub.member)
	}
	return nil
}

// Members implements Broker.
func (b *Memory) Members(ctx context.Context, name string) ([]Member, error) {
	if err := b.check(ctx, name); err != nil {
		return nil, err
	}
	s := b.shard(name)
	s.mu.Lock()
	c := s.channels[name]
	s.mu.Unlock()
	if c == nil {
		return nil, nil
	}
	c.mu.Lock()
	members := make([]member, 0, len(c.members))
	for _, m := range c.members {
		members = append(members, *m)
	}
	c.mu.Unlock()
	slices.SortFunc(members, func(a, b member) int { return a.place - b.place })
	all := make([]Member, len(members))
	for i, m := range members {
		all[i] = m.Member
	}
	return all, nil
}

// Channels implements Broker.
func (b *Memory) Channels(ctx context.Context, prefix string) ([]ChannelInfo, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if err := b.open(); err != nil {
		return nil, err
	}
	var all []ChannelInfo
	for _, c := range b.every(prefix) {
		c.mu.Lock()
		if n := c.subs.Len(); n > 0 {
			all = append(all, ChannelInfo{c.name, n})
		}
		c.mu.Unlock()
	}
	slices.SortFunc(all, func(a, b ChannelInfo) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// every returns the channels whose names begin with prefix.
func (b *Memory) every(prefix string) []*channel {
	var all []*channel
	for i := range b.shards {
		s := &b.shards[i]
		s.mu.Lock()
		for name, c := range s.channels {
			if strings.HasPrefix(name, prefix) {
				all = append(all, c)
			}
		}
		s.mu.Unlock()
	}
	return all
}

// Close ends all subscriptions behind the messages that are in their queues. Later calls fail with
// ErrClosed. The queues of Options.Queue end too.
func (b *Memory) Close() {
	_ = b.open() // so that the channels are there
	b.closed.Store(true)
	for _, c := range b.every("") {
		c.mu.Lock()
		c.subs.End(ErrClosed)
		c.mu.Unlock()
	}
}
