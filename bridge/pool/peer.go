package pool

import (
	"crypto/rand"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
)

// peer is one process of the pool and its connection: what a worker and a zygote
// have in common. Its fields are guarded by Pool.mu, except where it says otherwise.
type peer struct {
	pool    *Pool
	id      int
	token   string
	since   time.Time
	spawned chan struct{} // closed when the process runs, or could not be started
	known   chan struct{} // closed when it has said hello
	lost    chan struct{} // closed when the connection's reader has ended
	exited  chan struct{} // closed when the process has ended, or could not be started
	exit    string        // how it ended; valid after exited

	pid       int
	forked    bool     // by a zygote: its pid is checked when it says hello; valid after spawned
	output    *output  // nil until it has started
	conn      net.Conn // nil until it has said hello
	wasReady  bool
	failure   string // why it could not get ready, in its own words
	batch     []byte // frames to be written
	lastFrame int    // where in batch the last request begins, plus one; 0: there is none
	// firstStream is that of the first request in batch, undelivered that of the first
	// one that could not be written; 0: there is none.
	firstStream, undelivered uint32
	paused                   bool // the reader waits for a slow client

	log atomic.Pointer[slog.Logger]

	writing sync.Mutex // held while batch is swapped and written
	spare   []byte     // guarded by writing
}

// caller is a peer with what it is: who may connect, and is listened to then.
type caller interface {
	self() *peer
	// role is what its HELLO must give for its role.
	role() string
	// read handles its frames until the connection ends; the error is never nil.
	read(*wire.Reader) error
	// refusedLocked is called when its HELLO was wrong, which failure then tells.
	refusedLocked()
}

func (x *peer) self() *peer { return x }

func (x *peer) init(p *Pool, id int, log *slog.Logger) {
	x.pool, x.id, x.token, x.since = p, id, rand.Text(), time.Now()
	x.spawned, x.known = make(chan struct{}), make(chan struct{})
	x.lost, x.exited = make(chan struct{}), make(chan struct{})
	x.log.Store(log)
}

func (x *peer) logger() *slog.Logger { return x.log.Load() }

// start makes the process and the goroutines that read its output and wait for it.
func (x *peer) start(from maker) error {
	defer close(x.spawned)
	p := x.pool
	made, err := from.spawn(x)
	if err != nil {
		p.mu.Lock()
		x.failure = err.Error()
		p.mu.Unlock()
		x.exit = "it was not started"
		close(x.exited)
		return err
	}
	p.mu.Lock()
	x.output, x.pid, x.forked = made.output, made.pid, made.forked
	x.log.Store(x.logger().With("pid", x.pid))
	p.mu.Unlock()
	p.tasks.Go(func() {
		x.exit = made.wait()
		made.output.ended()
		close(x.exited)
	})
	return nil
}

// awaitExit waits for a process that has closed its connection, for a while; then
// it is killed.
func (x *peer) awaitExit(patience time.Duration) {
	select {
	case <-x.exited:
	case <-time.After(patience):
		x.kill()
		<-x.exited
	}
}

// readRest waits until what the process wrote before it ended has been read, and
// closes the connection. A child of the application may have it open, too, so the
// end of the data does not always show; a client that is slow to take it may take
// its time.
func (x *peer) readRest() {
	p := x.pool
	select {
	case <-x.known:
	case <-time.After(drainTimeout): // what it said before it ended may still be on its way
	}
	p.mu.Lock()
	delete(p.tokens, x.token)
	conn := x.conn
	p.mu.Unlock()
	if conn == nil {
		return
	}
	for paused := true; paused; {
		select {
		case <-x.lost:
			paused = false
		case <-time.After(drainTimeout):
			p.mu.Lock()
			paused = x.paused
			p.mu.Unlock()
		}
	}
	_ = conn.Close() // an error tells nothing: the peer is gone
	<-x.lost
}

// kill ends the process group: TERM, then KILL after the grace for whatever is left
// of it, the process or what it has started.
func (x *peer) kill() {
	<-x.spawned
	x.pool.mu.Lock()
	pid := x.pid
	x.pool.mu.Unlock()
	if pid == 0 {
		return // it could not be started
	}
	terminate(pid)
	deadline := time.After(x.pool.opt.KillGrace)
	exited := x.exited
	for groupExists(pid) {
		select {
		case <-exited:
			exited = nil // look after its children more often
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			killGroup(pid)
			<-x.exited
			return
		}
	}
	<-x.exited
}
