package natspubsub

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub/internal/message"
)

// role is what a node does at the moment:
//
//	electing    knows no leader; asks who is there. The node that has read the most leads
//	following   reads the log of the leader, as soon as it is synced
//	leading     writes the log
//
// electing -> following when a node says that it leads, electing -> leading when this node is the one
// with the most, following -> electing when the leader is gone, leading -> following when a leader with
// more nodes is met, any -> electing when the connection to NATS is lost.
type role uint8

const (
	electing role = iota
	following
	leading
)

// inbox is how many messages of NATS may wait for the node. Those beyond are lost to it, and it asks for
// them again.
const inbox = 16 << 10

// node is an open Broker. One goroutine, run, owns all fields below calls; others use do.
type node struct {
	broker *Broker
	conn   *nats.Conn
	tick   time.Duration
	life   context.Context
	end    context.CancelFunc
	work   sync.WaitGroup
	joined chan struct{} // closed when the node has read the log for the first time
	once   sync.Once     // of stop
	in     chan *nats.Msg
	calls  chan func()

	address string // names this node
	name    string // of its ops: the address and a number that grows
	names   int
	state   *state
	local   map[string]*audience

	role    role
	leader  string    // "" while electing
	synced  bool      // a follower that has all entries so far
	asked   time.Time // when it has asked for entries
	copying *copying  // nil: no copy comes in
	decide  time.Time // when an electing node may lead
	led     time.Time // when a leading node began
	peers   map[string]*peer
	dead    map[string]bool      // addresses of nodes that do not answer
	copied  map[string]time.Time // when a leading node has sent a copy of the state, by address
	nudged  map[string]bool      // nodes that were asked to send again since the last tick

	pending []*request // not in the log yet, in the order of their numbers
	request int64      // number of the last one
	tail    tail
}

// newNode connects and starts a node.
func newNode(b *Broker) (*node, error) {
	n := &node{
		broker: b, tick: b.lease() / ticksOfLease, joined: make(chan struct{}),
		in: make(chan *nats.Msg, inbox), calls: make(chan func()), address: rand.Text(),
		local: map[string]*audience{}, peers: map[string]*peer{}, dead: map[string]bool{}, nudged: map[string]bool{}, copied: map[string]time.Time{},
		state: newState(or(b.TotalHistory, pubsub.DefaultTotalHistory), or(b.MaxChannels, pubsub.DefaultMaxChannels)),
	}
	n.rename()
	options := []nats.Option{
		nats.Name("pagi-bridge"), nats.NoEcho(), nats.MaxReconnects(-1), nats.ReconnectBufSize(-1),
		nats.ReconnectWait(200 * time.Millisecond), nats.ReconnectJitter(100*time.Millisecond, 100*time.Millisecond),
		nats.PingInterval(b.lease()), nats.MaxPingsOutstanding(1),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if n.life.Err() == nil {
				b.logger().Warn("the connection to NATS is lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { b.logger().Info("the connection to NATS is back") }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if !errors.Is(err, nats.ErrSlowConsumer) { // the entries are asked for again
				b.logger().Warn("NATS reports an error", "error", err)
			}
		}),
	}
	if b.Server != nil {
		options = append(options, nats.InProcessServer(b.Server))
	}
	n.life, n.end = context.WithCancel(context.Background())
	conn, err := nats.Connect(b.URL, append(options, b.Options...)...)
	if err != nil {
		n.end()
		return nil, fmt.Errorf("natspubsub: %w", err)
	}
	n.conn = conn
	if err := n.listen(); err != nil {
		n.end()
		conn.Close()
		return nil, fmt.Errorf("natspubsub: %w", err)
	}
	wait := b.Alone
	if wait == 0 {
		wait = 2 * n.tick
	}
	n.decide = time.Now().Add(wait)
	n.work.Go(n.run)
	return n, nil
}

// listen subscribes to what nodes send.
func (n *node) listen() error {
	most := or(n.broker.MaxMessage, pubsub.DefaultMaxMessage)*message.MaxGrowth + 4<<10
	if room := n.conn.MaxPayload(); int64(most) > room {
		return fmt.Errorf("a message of max_message may need %d bytes, and the limit of the NATS server (max_payload) is %d", most, room)
	}
	for _, subject := range []string{n.subject("log"), n.subject("here"), n.subject("to", n.address, ">")} {
		if _, err := n.conn.ChanSubscribe(subject, n.in); err != nil {
			return err
		}
	}
	return n.conn.FlushTimeout(callTime)
}

// subject returns a subject of NATS: PREFIX.log for entries, PREFIX.here for signs of life, and
// PREFIX.to.ADDRESS.WHAT for one node.
func (n *node) subject(tokens ...string) string {
	return n.broker.prefix() + "." + strings.Join(tokens, ".")
}

// send sends to NATS. What does not arrive is sent again by those who miss it.
func (n *node) send(data []byte, tokens ...string) {
	if err := n.conn.Publish(n.subject(tokens...), data); err != nil && n.conn.IsConnected() && n.life.Err() == nil {
		n.broker.logger().Warn("NATS does not take a message", "error", err)
	}
}

// rename gives the node a new name, under which its ops are numbered from 1.
func (n *node) rename() {
	n.names++
	n.name, n.request = n.address+"."+strconv.Itoa(n.names), 0
}

// addressOf returns the address of the node with a name.
func addressOf(name string) string {
	address, _, _ := strings.Cut(name, ".")
	return address
}

// run is the goroutine of the node.
func (n *node) run() {
	ticker := time.NewTicker(n.tick)
	defer ticker.Stop()
	first := time.NewTimer(time.Until(n.decide)) // a node that is alone need not wait for a tick
	defer first.Stop()
	n.hello()
	for {
		select {
		case <-n.life.Done():
			return
		case m := <-n.in:
			n.receive(m)
		case f := <-n.calls:
			f()
		case <-first.C:
			if n.role == electing {
				n.elect()
			}
		case <-ticker.C:
			n.beat()
		}
	}
}

// do runs f in the goroutine of the node.
func (n *node) do(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case n.calls <- func() { f(); close(done) }:
		<-done
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-n.life.Done():
		return pubsub.ErrClosed
	}
}

// receive handles a message of NATS.
func (n *node) receive(m *nats.Msg) {
	what := strings.TrimPrefix(m.Subject, n.broker.prefix()+".")
	if own, ok := strings.CutPrefix(what, "to."+n.address+"."); ok {
		what = own
	}
	if address, ok := strings.CutPrefix(what, "probed."); ok {
		if m.Header.Get("Status") == "503" { // NATS: no responders
			n.unanswered(address)
		}
		return
	}
	switch what {
	case "here":
		read(n, m, n.hearPeer)
	case "log":
		read(n, m, n.hearEntry)
	case "missed":
		read(n, m, n.hearMissed)
	case "op":
		read(n, m, n.hearOp)
	case "again":
		n.sendPending()
	case "sync":
		read(n, m, n.hearSync)
	case "copy":
		read(n, m, n.hearChunk)
	case "probe":
	default:
		n.broker.logger().Warn("a message from NATS is dropped", "subject", m.Subject)
	}
}

// stop ends the node. politely tells the others that it leaves.
func (n *node) stop(politely bool) {
	n.once.Do(func() {
		if politely && n.conn.IsConnected() {
			ctx, cancel := context.WithTimeout(context.Background(), goodbyeTime)
			defer cancel()
			r := newRequest(op{Kind: opGone})
			if n.ask(ctx, r) == nil {
				_ = n.do(ctx, n.bye)
			}
			_ = n.conn.FlushWithContext(ctx) // the others notice without it, a little later
		}
		n.end()
		n.work.Wait()
		n.conn.Close()
		for _, a := range n.local {
			a.End(pubsub.ErrClosed)
		}
		for _, r := range n.pending {
			r.finish(pubsub.ErrClosed)
		}
	})
}
