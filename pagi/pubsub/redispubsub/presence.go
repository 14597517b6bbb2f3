package redispubsub

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
)

func (b *Broker) memberKeys(channel string) []string {
	return []string{b.key(channel, "m"), b.key(channel, "w"), b.key(channel, "c"), b.key(channel, "i")}
}

// join makes the subscription one of its member. The channel's mu is held.
func (b *Broker) join(ctx context.Context, sub *subscription) error {
	who, c := sub.Options.Member, sub.channel
	if who.ID == "" {
		return nil
	}
	if c.members[who.ID] == 0 {
		if err := b.enter(ctx, c.name, who); err != nil {
			return err
		}
	}
	if c.members == nil {
		c.members = map[string]int{}
	}
	c.members[who.ID]++
	return nil
}

// enter tells Redis that a member is here, or still here.
func (b *Broker) enter(ctx context.Context, channel string, who pubsub.Member) error {
	return joinScript.Run(ctx, b.client, b.memberKeys(channel), b.node, who.ID, who.Info, b.lease().Milliseconds(), b.key(channel, "")).Err()
}

// leave ends what join did. If Redis cannot be told, the lease of the member ends. The channel's mu
// is held.
func (b *Broker) leave(ctx context.Context, sub *subscription) {
	id, c := sub.Options.Member.ID, sub.channel
	if id == "" {
		return
	}
	if c.members[id]--; c.members[id] > 0 {
		return
	}
	delete(c.members, id)
	if !b.up.Load() {
		return
	}
	if err := leaveScript.Run(ctx, b.client, b.memberKeys(c.name), b.key(c.name, ""), id+"\n"+b.node).Err(); err != nil {
		b.lost(err)
	}
}

// SetInfo implements pubsub.Tie.
func (sub *subscription) SetInfo(ctx context.Context, info string) error {
	b, c := sub.broker, sub.channel
	id := sub.Options.Member.ID
	if id == "" {
		return pubsub.ErrNoMember
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.members[id] == 0 {
		return pubsub.ErrClosed
	}
	err := infoScript.Run(ctx, b.client, b.memberKeys(c.name), id, info, b.key(c.name, "")).Err()
	if err != nil {
		return fmt.Errorf("redispubsub: %w", err)
	}
	for _, other := range c.subs.All() {
		if other.Options.Member.ID == id {
			other.Options.Member.Info = info // so that it is entered again with it
		}
	}
	return nil
}

// Members implements pubsub.Broker.
func (b *Broker) Members(ctx context.Context, name string) ([]pubsub.Member, error) {
	if err := b.check(ctx, name); err != nil {
		return nil, err
	}
	keys := b.memberKeys(name)
	if err := leaveScript.Run(ctx, b.client, keys, b.key(name, "")).Err(); err != nil {
		return nil, fmt.Errorf("redispubsub: %w", err)
	}
	infos, err := b.client.HGetAll(ctx, keys[3]).Result()
	if err != nil {
		return nil, fmt.Errorf("redispubsub: %w", err)
	}
	type joined struct {
		pubsub.Member
		join int64
	}
	var all []joined
	for id, text := range infos {
		number, info, _ := strings.Cut(text, " ")
		join, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, errEntry
		}
		all = append(all, joined{pubsub.Member{ID: id, Info: info}, join})
	}
	slices.SortFunc(all, func(a, b joined) int { return cmp.Compare(a.join, b.join) })
	members := make([]pubsub.Member, len(all))
	for i, m := range all {
		members[i] = m.Member
	}
	return members, nil
}

func (b *Broker) nodesKey() string           { return b.prefix() + "nodes" }
func (b *Broker) nodeKey(node string) string { return b.prefix() + "n:" + node }

// count tells Redis how many subscriptions this process has to a channel. The channel's mu is held.
func (b *Broker) count(ctx context.Context, c *channel) error {
	if !b.up.Load() {
		return nil // renew does it
	}
	key, n := b.nodeKey(b.node), c.subs.Len()
	_, err := b.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		if n == 0 {
			p.HDel(ctx, key, c.name)
		} else {
			p.HSet(ctx, key, c.name, n)
		}
		p.PExpire(ctx, key, b.lease())
		return nil
	})
	return err
}

// register tells Redis that this process is there, or still there.
func (b *Broker) register(ctx context.Context) error {
	return nodesScript.Run(ctx, b.client, []string{b.nodesKey()}, b.lease().Milliseconds(), b.node).Err()
}

// Channels implements pubsub.Broker.
func (b *Broker) Channels(ctx context.Context, prefix string) ([]pubsub.ChannelInfo, error) {
	if err := b.check(ctx, "x"); err != nil {
		return nil, err
	}
	nodes, err := nodesScript.Run(ctx, b.client, []string{b.nodesKey()}).StringSlice()
	if err != nil {
		return nil, fmt.Errorf("redispubsub: %w", err)
	}
	counts := map[string]int{}
	for _, node := range nodes {
		of, err := b.client.HGetAll(ctx, b.nodeKey(node)).Result()
		if err != nil {
			return nil, fmt.Errorf("redispubsub: %w", err)
		}
		for name, text := range of {
			n, err := strconv.Atoi(text)
			if err != nil {
				return nil, errEntry
			}
			if strings.HasPrefix(name, prefix) {
				counts[name] += n
			}
		}
	}
	var all []pubsub.ChannelInfo
	for name, n := range counts {
		all = append(all, pubsub.ChannelInfo{Name: name, Subscribers: n})
	}
	slices.SortFunc(all, func(a, b pubsub.ChannelInfo) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// renew extends the leases of this process, and ends those of members whose process has not done
// so.
func (b *Broker) renew() {
	ticker := time.NewTicker(b.lease() / 3)
	defer ticker.Stop()
	for {
		select {
		case <-b.life.Done():
			return
		case <-ticker.C:
		}
		if !b.up.Load() {
			continue
		}
		err := b.register(b.life)
		if err == nil && b.recount.Swap(false) {
			err = b.client.Del(b.life, b.nodeKey(b.node)).Err()
		}
		if err != nil {
			b.lost(err)
			continue
		}
		b.mu.Lock()
		var channels []*channel
		for _, c := range b.channels {
			channels = append(channels, c)
		}
		b.mu.Unlock()
		for _, c := range channels {
			if err := b.renewChannel(c); err != nil {
				b.lost(err)
				break
			}
		}
	}
}

func (b *Broker) renewChannel(c *channel) error {
	ctx, cancel := context.WithTimeout(b.life, callTime)
	defer cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.subs.Len() == 0 {
		return nil
	}
	if err := b.count(ctx, c); err != nil {
		return err
	}
	entered := map[string]bool{}
	for _, sub := range c.subs.All() {
		who := sub.Options.Member
		if who.ID == "" || entered[who.ID] {
			continue
		}
		entered[who.ID] = true
		if err := b.enter(ctx, c.name, who); err != nil {
			return err
		}
	}
	return leaveScript.Run(ctx, b.client, b.memberKeys(c.name), b.key(c.name, "")).Err()
}

// forgetNode removes what Redis has of this process. Its members leave.
func (b *Broker) forgetNode(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range b.channels {
		gone := []any{b.key(c.name, "")}
		c.mu.Lock()
		for id := range c.members {
			gone = append(gone, id+"\n"+b.node)
		}
		c.mu.Unlock()
		if len(gone) > 1 {
			if err := leaveScript.Run(ctx, b.client, b.memberKeys(c.name), gone...).Err(); err != nil {
				return err
			}
		}
	}
	_, err := b.client.Pipelined(ctx, func(p redis.Pipeliner) error {
		p.Del(ctx, b.nodeKey(b.node))
		p.ZRem(ctx, b.nodesKey(), b.node)
		return nil
	})
	return err
}
