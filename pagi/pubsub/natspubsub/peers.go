package natspubsub

import (
	"encoding/json"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/pagi-go/pagi-bridge/pagi/pubsub/internal/message"
)

// presence is what a node tells of itself with each tick.
type presence struct {
	Address string `json:"a"`
	Name    string `json:"o"`
	Leader  string `json:"l,omitempty"` // "": electing
	Term    int64  `json:"y,omitempty"`
	Epoch   string `json:"e,omitempty"`
	Seq     int64  `json:"n,omitempty"`
	Size    int    `json:"s,omitempty"` // of a leader: how many nodes read its log
	Bye     bool   `json:"bye,omitempty"`
}

// peer is another node.
type peer struct {
	presence
	seen   time.Time
	misses int // how often NATS had no one for it since then
}

const (
	// enoughMisses is how often in a row NATS must say that a node is not there.
	enoughMisses = 2
)

// read decodes a message of another node. What cannot be read is dropped.
func read[T any](n *node, m *nats.Msg, f func(*T)) {
	v := new(T)
	if err := json.Unmarshal(m.Data, v); err != nil {
		n.broker.logger().Warn("a message from NATS is dropped", "subject", m.Subject, "error", err)
		return
	}
	f(v)
}

func (n *node) presence() *presence {
	p := &presence{Address: n.address, Name: n.name, Leader: n.leader, Term: n.state.term, Epoch: n.state.last.Epoch, Seq: n.state.last.Seq}
	if n.role == leading {
		p.Size = 1
		for address, other := range n.peers {
			if other.Leader == n.address && n.isAlive(address) {
				p.Size++
			}
		}
	}
	return p
}

// hello tells all nodes that this one is there.
func (n *node) hello() { n.send(encode(n.presence()), "here") }

// bye tells all nodes that this one leaves.
func (n *node) bye() {
	p := n.presence()
	p.Bye = true
	n.send(encode(p), "here")
}

// isAlive reports whether a node was heard of within a lease.
func (n *node) isAlive(address string) bool {
	p := n.peers[address]
	return p != nil && !n.dead[address] && time.Since(p.seen) < n.broker.lease()
}

// beat is what a node does with each tick.
func (n *node) beat() {
	clear(n.nudged)
	if !n.conn.IsConnected() {
		n.disconnected()
		return
	}
	n.hello()
	for address, p := range n.peers {
		if time.Since(p.seen) > n.broker.lease() {
			if len(n.in) > 0 {
				continue // its sign may be among what waits
			}
			n.lose(address, "it gives no sign of life")
		} else if n.role == leading || address == n.leader {
			probe := &nats.Msg{Subject: n.subject("to", address, "probe"), Reply: n.subject("to", n.address, "probed", address)}
			_ = n.conn.PublishMsg(probe) // as send
		}
	}
	switch n.role {
	case leading:
		n.endOfGone()
	case electing:
		n.elect()
	case following:
		switch {
		case !n.synced && time.Since(n.asked) > n.patience():
			n.sync()
		case n.synced && len(n.pending) > 0 && time.Since(n.pending[0].sent) > n.tick:
			n.sendPending()
		}
	}
}

// disconnected makes the node wait until the connection is back. What it has read stays.
func (n *node) disconnected() {
	n.abandon()
	for _, p := range n.peers {
		p.seen, p.misses = time.Now(), 0
	}
}

// abandon makes the node look for a leader.
func (n *node) abandon() {
	n.role, n.leader, n.synced, n.copying = electing, "", false, nil
	n.decide = time.Now().Add(n.tick)
	n.letGo()
}

// lose notes that a node is gone.
func (n *node) lose(address, why string) {
	delete(n.peers, address)
	delete(n.copied, address)
	n.dead[address] = true
	n.broker.logger().Warn("a node of the cluster is gone", "node", address, "reason", why)
	if address == n.leader {
		n.abandon()
		n.hello()
	}
}

// unanswered counts that NATS has no one for a node. It may be about to connect again, so that once is
// not enough.
func (n *node) unanswered(address string) {
	if p := n.peers[address]; p != nil {
		if p.misses++; p.misses >= enoughMisses {
			n.lose(address, "NATS has no connection of it")
		}
	}
}

// hearPeer handles a sign of life.
func (n *node) hearPeer(h *presence) {
	if h.Address == "" || h.Address == n.address || addressOf(h.Name) != h.Address {
		return
	}
	known := n.peers[h.Address] != nil
	if h.Bye {
		delete(n.peers, h.Address)
		delete(n.copied, h.Address)
		n.dead[h.Address] = true
		if h.Address == n.leader {
			n.abandon()
			n.hello()
		}
		return
	}
	delete(n.dead, h.Address)
	n.peers[h.Address] = &peer{presence: *h, seen: time.Now()}
	if !known {
		n.send(encode(n.presence()), "to", h.Address, "here")
	}
	switch n.role {
	case electing:
		if h.Leader == h.Address {
			n.follow(h.Address)
		}
	case following:
		if h.Address == n.leader {
			n.hearLeader(h)
		}
	case leading:
		if h.Leader == h.Address && h.leads(n.presence()) {
			n.broker.logger().Info("the nodes of two clusters have met; this one takes over the log of the other", "node", h.Address)
			n.follow(h.Address)
			n.hello()
		}
	}
}

// hearLeader handles a sign of life of the leader.
func (n *node) hearLeader(h *presence) {
	switch {
	case h.Leader == "":
		n.abandon()
		n.hello()
	case h.Leader != h.Address:
		n.follow(h.Leader)
	case n.synced && (message.Place{Epoch: h.Epoch, Seq: h.Seq}) != n.state.last:
		n.sync() // what came before this sign was lost
	}
}

// leads reports whether the log of one leader goes on, and not that of the other.
func (h *presence) leads(o *presence) bool {
	switch {
	case h.Size != o.Size:
		return h.Size > o.Size
	case h.Term != o.Term:
		return h.Term > o.Term
	case h.Seq != o.Seq:
		return h.Seq > o.Seq
	}
	return h.Address < o.Address
}

// follow makes the node read the log of a leader.
func (n *node) follow(leader string) {
	if leader == n.address { // it will say so itself, or be elected
		n.abandon()
		return
	}
	n.role, n.leader, n.synced, n.copying = following, leader, false, nil
	n.sync()
}

// elect makes this node the leader if it is the one that has read the most of those without one.
func (n *node) elect() {
	if time.Now().Before(n.decide) {
		return
	}
	for address, p := range n.peers {
		if !n.isAlive(address) {
			continue
		}
		if p.Leader != "" && !n.dead[p.Leader] && p.Leader != n.address {
			return // it will tell of its leader, or notice that it is gone
		}
		if p.Leader != "" || p.hasReadMore(n.presence()) {
			return
		}
	}
	n.lead()
}

// hasReadMore reports whether a node is to lead rather than another one.
func (h *presence) hasReadMore(o *presence) bool {
	switch {
	case h.Term != o.Term:
		return h.Term > o.Term
	case h.Seq != o.Seq:
		return h.Seq > o.Seq
	}
	return h.Address < o.Address
}

// endOfGone takes the nodes out of the log that are not there any more, and the former names of those
// that are.
func (n *node) endOfGone() {
	settled := time.Since(n.led) > n.broker.lease()
	for name := range n.state.nodes {
		address := addressOf(name)
		p := n.peers[address]
		switch {
		case name == n.name, p == nil && address != n.address && !n.dead[address] && !settled, p != nil && p.Name == name:
		default:
			n.write(op{Kind: opGone, Node: name})
		}
	}
	if settled {
		clear(n.dead)
	}
}
