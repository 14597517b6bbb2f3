package natspubsub

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub/internal/message"
)

const (
	// maxPending is how many ops of a node may wait for the leader.
	maxPending = 10_000
	// tailEntries and tailBytes bound the entries that a node has for those who miss some.
	tailEntries = 4096
	tailBytes   = 8 << 20
)

var (
	errBusy   = errors.New("natspubsub: too much waits for the leader")
	errUnsure = errors.New("natspubsub: it is not known whether this was done, because the leader has changed")
)

// request is an op of this node that is not in the log yet.
type request struct {
	op
	sent time.Time
	id   string // of the entry; valid when done is closed without an error
	then func() // nil, or what the node does when the op is in the log
	err  error
	done chan struct{} // closed at the end
	// letGo is true if the caller need not wait while there is no leader.
	letGo bool
}

func newRequest(o op) *request { return &request{op: o, done: make(chan struct{})} }

// finish ends the waiting for a request. It may be called again.
func (r *request) finish(err error) {
	select {
	case <-r.done:
	default:
		r.err = err
		close(r.done)
	}
}

// ask has an op written into the log, and waits for it.
func (n *node) ask(ctx context.Context, r *request) error {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, callTime)
		defer cancel()
	}
	if err := n.do(ctx, func() { n.begin(r) }); err != nil {
		return err
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// begin starts a request.
func (n *node) begin(r *request) {
	if n.role != electing && !n.conn.IsConnected() {
		n.disconnected()
	}
	switch {
	case len(n.pending) >= maxPending:
		r.finish(errBusy)
		return
	case !n.conn.IsConnected() && r.Kind == opPublish && n.broker.Server == nil: // a server of this process is back soon
		r.finish(errDown)
		return
	}
	n.enqueue(r)
	switch {
	case n.role == leading:
		n.takeOwn()
	case n.synced:
		n.sendRequest(r)
	case r.letGo:
		r.finish(errDown)
	}
}

// enqueue gives a request its number.
func (n *node) enqueue(r *request) {
	n.request++
	r.Node, r.Request = n.name, n.request
	n.pending = append(n.pending, r)
}

func (n *node) sendRequest(r *request) {
	r.sent = time.Now()
	n.send(encode(r.op), "to", n.leader, "op")
}

// sendPending sends all requests to the leader, which leaves out those that it has.
func (n *node) sendPending() {
	switch {
	case n.role == leading:
		n.takeOwn()
	case n.synced:
		for _, r := range n.pending {
			n.sendRequest(r)
		}
	}
}

// takeOwn writes the requests of a leader itself.
func (n *node) takeOwn() {
	for n.role == leading && len(n.pending) > 0 {
		n.write(n.pending[0].op) // which removes it
	}
}

// letGo ends the waiting of those who need not wait for a leader.
func (n *node) letGo() {
	for _, r := range n.pending {
		if r.letGo {
			r.finish(errDown)
		}
	}
}

// hearOp handles an op of another node.
func (n *node) hearOp(o *op) {
	if n.role != leading || o.Request < 1 || o.Kind == opLead || o.check() != nil {
		return
	}
	switch next := n.state.nodes[o.Node] + 1; {
	case o.Request == next:
		n.write(*o)
	case o.Request > next && !n.nudged[o.Node]:
		n.nudged[o.Node] = true
		n.send(nil, "to", addressOf(o.Node), "again")
	}
}

// write adds an op to the log of this leader.
func (n *node) write(o op) {
	e := &entry{Epoch: n.state.last.Epoch, Seq: n.state.last.Seq + 1, Time: time.Now().UnixMilli(), Leader: n.address, op: o}
	if o.Kind == opLead {
		e.Epoch = rand.Text()[:12]
	}
	data := encode(e)
	n.send(data, "log")
	n.apply(e, data)
}

// lead makes this node the leader. Its first entry says so.
func (n *node) lead() {
	n.role, n.leader, n.synced, n.led = leading, n.address, true, time.Now()
	n.write(op{Kind: opLead, Node: n.address, Term: n.state.term + 1, Before: n.state.last.Epoch})
	n.broker.logger().Debug("this node leads the cluster", "node", n.address, "term", n.state.term)
	n.hello()
	n.up()
}

// up is called when the node has a leader whose log it has read.
func (n *node) up() {
	select {
	case <-n.joined:
	default:
		close(n.joined)
	}
	n.sendPending()
}

// apply does what an entry says, and ends the request that it answers.
func (n *node) apply(e *entry, data []byte) {
	n.tail.add(e.place(), data)
	n.state.apply(e, n)
	if e.Kind == opGone && e.Node == n.name && e.Request == 0 {
		n.register() // the others thought that this node was gone
		return
	}
	if e.Node != n.name || e.Request == 0 || len(n.pending) == 0 || n.pending[0].Request != e.Request {
		return
	}
	r := n.pending[0]
	n.pending[0] = nil
	if n.pending = n.pending[1:]; len(n.pending) == 0 {
		n.pending = nil
	}
	r.id = e.place().ID()
	if r.then != nil {
		r.then()
	}
	r.finish(nil)
}

// hearEntry handles an entry that the leader has written.
func (n *node) hearEntry(e *entry) {
	switch {
	case e.check() != nil || n.role == leading || e.Leader == n.address:
	case n.role == electing && e.Kind == opLead && n.state.follows(e):
		n.role, n.leader, n.synced = following, e.Leader, true
		n.apply(e, encode(e))
		n.up()
	case e.Leader != n.leader || !n.synced:
	case n.state.follows(e):
		n.apply(e, encode(e))
	case e.Epoch != n.state.last.Epoch || e.Seq > n.state.last.Seq:
		n.sync()
	}
}

// syncing is what a node asks for that has not all entries.
type syncing struct {
	Address string `json:"a"`
	Epoch   string `json:"e"`
	Seq     int64  `json:"n"`
}

// missed is the answer: the entries that follow, in parts.
type missed struct {
	Entries []json.RawMessage `json:"entries"`
	End     bool              `json:"end,omitempty"`
}

// patience is how long a node waits for entries, or for the next part of them, before it asks again.
func (n *node) patience() time.Duration { return n.broker.lease() / 2 }

// sync asks the leader for what is missing. Entries that come before the answer are in the answer.
func (n *node) sync() {
	n.synced, n.copying, n.asked = false, nil, time.Now()
	n.send(encode(syncing{n.address, n.state.last.Epoch, n.state.last.Seq}), "to", n.leader, "sync")
}

// hearSync answers a node that has not all entries, with them or with a copy of the state.
func (n *node) hearSync(s *syncing) {
	if n.role != leading {
		return
	}
	at := message.Place{Epoch: s.Epoch, Seq: s.Seq}
	entries, ok := n.tail.after(at)
	if !ok && at != n.state.last {
		if time.Since(n.copied[s.Address]) < n.patience() {
			return // it has asked again before it could get the copy
		}
		defer func() { n.copied[s.Address] = time.Now() }()
		n.state.copyTo(n.address, func(c *chunk) { n.send(encode(c), "to", s.Address, "copy") })
		return
	}
	part, size := missed{}, 0
	for _, data := range entries {
		part.Entries = append(part.Entries, data)
		if size += len(data); size > chunkSize {
			n.send(encode(part), "to", s.Address, "missed")
			part, size = missed{}, 0
		}
	}
	part.End = true
	n.send(encode(part), "to", s.Address, "missed")
}

// hasHeard notes that the leader is answering. Its signs of life wait behind the answer.
func (n *node) hasHeard() {
	n.asked = time.Now()
	if p := n.peers[n.leader]; p != nil {
		p.seen = n.asked
	}
}

// hearMissed handles the entries that the node has asked for.
func (n *node) hearMissed(m *missed) {
	if n.role != following || n.synced {
		return
	}
	n.hasHeard()
	for _, data := range m.Entries {
		var e entry
		if json.Unmarshal(data, &e) != nil || e.check() != nil {
			return
		}
		if n.state.follows(&e) {
			n.apply(&e, data)
		} else if e.Epoch != n.state.last.Epoch || e.Seq > n.state.last.Seq {
			return // a part was lost; beat asks again
		}
	}
	if m.End {
		n.synced = true
		n.up()
	}
}

// hearChunk handles a part of a copy of the leader's state.
func (n *node) hearChunk(c *chunk) {
	if n.role != following || n.synced {
		return
	}
	n.hasHeard()
	if c.Head != nil {
		if c.Head.Leader != n.leader {
			return
		}
		n.copying = &copying{id: c.ID, state: newState(n.state.mostBytes, n.state.mostKept)}
	}
	if n.copying == nil || !n.copying.take(c) || !c.End {
		return
	}
	fresh := n.copying.state
	n.copying = nil
	n.install(fresh)
	n.synced = true
	n.register()
	n.up()
}

// install takes over the state of the leader. Requests that it has are ended.
func (n *node) install(fresh *state) {
	old := n.state
	n.state = fresh
	n.tail = tail{}
	n.passDifferences(old, fresh)
	done := fresh.nodes[n.name]
	for len(n.pending) > 0 && n.pending[0].Request <= done {
		r := n.pending[0]
		n.pending = n.pending[1:]
		if r.then != nil {
			r.then()
		}
		if r.Kind == opPublish {
			r.finish(errUnsure)
		} else {
			r.finish(nil)
		}
	}
}

// register gives the node a new name, and asks for its subscriptions again. The requests that wait
// follow them with new numbers. The leader ends what there was under the former name.
func (n *node) register() {
	waiting := n.pending
	n.pending = nil
	n.rename()
	for name, a := range n.local {
		for _, l := range a.All() {
			n.enqueue(newRequest(op{Kind: opSubscribe, Channel: name, Member: l.Options.Member.ID, Info: l.Options.Member.Info}))
		}
	}
	for _, r := range waiting {
		switch r.Kind {
		case opUnsubscribe, opGone: // the subscriptions were not asked for again
			r.finish(nil)
		default:
			n.enqueue(r)
		}
	}
	n.hello()
	n.sendPending()
}

// tail is the newest entries of the log.
type tail struct {
	places  []message.Place
	entries [][]byte
	bytes   int
}

func (t *tail) add(at message.Place, data []byte) {
	t.places, t.entries = append(t.places, at), append(t.entries, data)
	t.bytes += len(data)
	if len(t.entries) > 1 && (len(t.entries) > tailEntries || t.bytes > tailBytes) {
		// A half is dropped at once, so that the arrays are not moved for each entry.
		n := len(t.entries) / 2
		t.places, t.entries = append([]message.Place(nil), t.places[n:]...), append([][]byte(nil), t.entries[n:]...)
		t.bytes = 0
		for _, data := range t.entries {
			t.bytes += len(data)
		}
	}
}

// after returns the entries after a place; ok is false if the tail does not have the entry at it.
func (t *tail) after(at message.Place) (entries [][]byte, ok bool) {
	for i := len(t.places) - 1; i >= 0; i-- {
		if t.places[i] == at {
			return t.entries[i+1:], true
		}
	}
	return nil, false
}

var _ hearer = (*node)(nil)

// hearMessage passes a message to the subscriptions of this process.
func (n *node) hearMessage(m *pubsub.Message) {
	if a := n.local[m.Channel]; a != nil {
		a.Pass(m, nil)
	}
}
