package worker

import (
	"crypto/rand"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/internal/outbox"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/internal/proc"
)

// peer is one process of the group and its connection, the common part of a worker and a zygote.
// Group.mu guards its fields unless their comments say otherwise.
type peer struct {
	group   *Group
	id      int
	token   string
	address string // where it listens for gateways, with Options.Listen; constant
	since   time.Time
	spawned chan struct{} // closed when the process runs, or could not be started
	known   chan struct{} // closed when it has said hello
	lost    chan struct{} // closed when the connection's reader has ended
	exited  chan struct{} // closed when the process has ended, or could not be started
	exit    string        // how it ended; valid after exited

	made     spawned       // the zero value until it has started
	out      outbox.Outbox // has locks of its own
	terms    wire.Terms    // of the connection; valid after known
	wasReady bool
	failure  string      // why it could not get ready, in its own words
	reset    bool        // the connection ended before the process had read all of it
	paused   atomic.Bool // the reader waits for a slow client

	log atomic.Pointer[slog.Logger]
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

func (x *peer) init(g *Group, id int, log *slog.Logger) {
	x.group, x.id, x.token, x.since = g, id, rand.Text(), time.Now()
	x.spawned, x.known = make(chan struct{}), make(chan struct{})
	x.lost, x.exited = make(chan struct{}), make(chan struct{})
	x.log.Store(log)
}

func (x *peer) logger() *slog.Logger { return x.log.Load() }

// start makes the process and the goroutines that read its output and wait for it.
func (x *peer) start(from maker) error {
	defer close(x.spawned)
	g := x.group
	made, err := from.spawn(x)
	if err != nil {
		g.mu.Lock()
		x.failure = err.Error()
		g.mu.Unlock()
		x.exit = "it was not started"
		close(x.exited)
		return err
	}
	g.mu.Lock()
	x.made = made
	x.log.Store(x.logger().With("pid", made.pid))
	g.mu.Unlock()
	g.tasks.Go(func() {
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

// hasExited reports whether the process has ended.
func (x *peer) hasExited() bool {
	select {
	case <-x.exited:
		return true
	default:
		return false
	}
}

// readRest waits until the reader has read everything that the process wrote before it ended, and
// closes the connection. A child of the application may also hold the connection open, so the end
// of the data cannot always be seen. A slow client of that data may take its time.
func (x *peer) readRest() {
	g := x.group
	select {
	case <-x.known:
	case <-time.After(drainTimeout): // its last frames may still be on their way
	}
	g.mu.Lock()
	delete(g.tokens, x.token)
	g.mu.Unlock()
	select {
	case <-x.known:
	default:
		return
	}
	for waits := true; waits; {
		select {
		case <-x.lost:
			waits = false
		case <-time.After(drainTimeout):
			waits = x.paused.Load()
		}
	}
	x.out.Close()
	<-x.lost
}

// kill ends the process group, the process and its children. It sends TERM now. It sends KILL to
// the processes that are left after the kill grace, or when the group is in a hurry.
func (x *peer) kill() {
	<-x.spawned
	x.group.mu.Lock()
	pid := x.made.pid
	x.group.mu.Unlock()
	if pid == 0 {
		return // it could not be started
	}
	proc.Group(pid).End(x.group.opt.KillAfter, x.group.hurry, x.exited)
}

// flush writes what is in the outbox. An error needs no handling, because the reader also sees the end of the
// connection.
func (x *peer) flush() {
	if err := x.out.Flush(); err != nil {
		x.logger().Debug("cannot write to the worker", "error", err)
	}
}

// lastWords returns the last lines that the process has printed before it was ready, once it has ended.
func (x *peer) lastWords() string {
	if x.made.output == nil {
		return "" // it was not started
	}
	return x.made.output.lastWords()
}
