package pool

import (
	"crypto/rand"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/internal/proc"
)

// peer is one process of the pool and its connection, the common part of a worker and a zygote.
// Pool.mu guards its fields unless their comments say otherwise.
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

	pid      int
	forked   bool       // a zygote has made it: its pid is checked when it says HELLO; valid after spawned
	output   *output    // nil until it has started
	conn     net.Conn   // nil until it has said hello
	terms    wire.Terms // of conn
	wasReady bool
	failure  string // why it could not get ready, in its own words
	batch    []byte // frames to be written
	// firstStream is the stream of the first request in batch, undelivered that of the first
	// request that could not be written. 0 means none.
	firstStream, undelivered uint32
	// written is the stream of the first request in the batch that was written last, 0 if that
	// batch had no request. reset says that the connection ended before the process had read all of
	// it.
	written uint32
	reset   bool
	paused  bool // the reader waits for a slow client

	log atomic.Pointer[slog.Logger]

	writing sync.Mutex // held while batch is swapped and written
	spare   []byte     // guarded by writing
}

// caller is a worker or a zygote: a process that is expected to connect, and whose frames are read
// then.
type caller interface {
	self() *peer
	// role is the role that its HELLO must name.
	role() string
	// read handles its frames until the connection ends; the error is never nil.
	read(*wire.Reader) error
	// refusedLocked is called when its HELLO was wrong. The field failure says why.
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

// awaitExit waits for the end of a process that has closed its connection. It kills a process that
// takes longer than patience.
func (x *peer) awaitExit(patience time.Duration) {
	select {
	case <-x.exited:
	case <-time.After(patience):
		x.kill()
		<-x.exited
	}
}

// readRest waits until the reader has read everything that the process wrote before it ended, and
// closes the connection. A child of the application may also hold the connection open, so the end
// of the data cannot always be seen. A slow client of that data may take its time.
func (x *peer) readRest() {
	p := x.pool
	select {
	case <-x.known:
	case <-time.After(drainTimeout): // its last frames may still be on their way
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
	_ = conn.Close() // an error does not matter: the process is gone
	<-x.lost
}

// kill ends the process group, the process and its children. It sends TERM now. It sends KILL to
// the processes that are left after the kill grace, or when the pool is in a hurry.
func (x *peer) kill() {
	<-x.spawned
	x.pool.mu.Lock()
	pid := x.pid
	x.pool.mu.Unlock()
	if pid == 0 {
		return // it could not be started
	}
	proc.Group(pid).End(x.pool.opt.KillAfter, x.pool.hurry, x.exited)
}
