package pool

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
)

const (
	// drainTimeout is how long what a dead worker has written is waited for, and
	// how long one that has closed its connection may take to end.
	drainTimeout = 500 * time.Millisecond
)

// worker is one process and its connection. Its fields are guarded by Pool.mu,
// except where it says otherwise.
type worker struct {
	pool    *Pool
	id      int
	token   string
	since   time.Time
	spawned chan struct{} // closed when the process runs, or could not be started
	known   chan struct{} // closed when it has said hello
	lost    chan struct{} // closed when the connection's reader has ended
	exited  chan struct{} // closed when the process has ended, or could not be started
	abort   chan struct{} // closed when no client is to be waited for any more
	exit    string        // how it ended; valid after exited

	pid       int
	output    *output  // nil until it has started
	conn      net.Conn // nil until it has said hello
	state     State
	wasReady  bool
	failure   string      // why it could not get ready, in its own words
	inflight  []*exchange // what it has been given, in order
	batch     []byte      // frames to be written
	left      time.Time   // when it became Exiting
	killed    bool        // kill is at work
	retired   bool        // it served and was told to go
	surprise  bool        // its process ended unasked
	cleaning  bool        // busy with what an application does after its answer
	cleanedUp string      // the request it has answered last, and cleans up after
	cleanedID string      // and its ID
	served    int
	progress  time.Time // of the last sign of life while busy
	paused    bool      // the reader waits for a slow client
	begun     time.Time // when the batch was given
	given     int       // how many requests were in it
	average   time.Duration
	stall     *time.Timer
	successor *worker // takes over when it is ready
	source    *source
	limit     int          // how many requests it is to serve, 0 for any number
	expires   time.Time    // when it is to be replaced, where there is a MaxAge
	rss       int64        // its memory when it was last looked at
	weigh     bool         // its memory is to be looked at when it is free
	trial     chan<- error // of the reload that started it and waits for how that goes

	log atomic.Pointer[slog.Logger]

	writing sync.Mutex // held while batch is swapped and written
	spare   []byte     // guarded by writing
}

func (w *worker) logger() *slog.Logger { return w.log.Load() }

// launchLocked starts a worker, to take over from predecessor unless that is nil.
func (p *Pool) launchLocked(predecessor *worker) { p.launchFromLocked(p.source, predecessor) }

func (p *Pool) launchFromLocked(src *source, predecessor *worker) *worker {
	p.launched++
	w := &worker{
		pool:    p,
		source:  src,
		id:      p.launched,
		token:   rand.Text(),
		since:   time.Now(),
		spawned: make(chan struct{}),
		known:   make(chan struct{}),
		lost:    make(chan struct{}),
		exited:  make(chan struct{}),
		abort:   make(chan struct{}),
	}
	w.drawLimits()
	w.log.Store(p.journals.logger(p.opt.Logger).With("mount", p.opt.Name, "worker", w.id))
	if predecessor != nil {
		for other := range p.workers {
			if other.successor == predecessor { // which is still being started itself
				other.successor = w
			}
		}
		predecessor.successor = w
	}
	p.workers[w] = struct{}{}
	p.tokens[w.token] = w
	p.tasks.Go(w.live)
	return w
}

// live starts the process and sees it through to its end.
func (w *worker) live() {
	p := w.pool
	err := w.start()
	close(w.spawned)
	if err != nil {
		p.mu.Lock()
		w.failure = err.Error()
		p.mu.Unlock()
		w.exit = "it was not started"
		close(w.exited)
		w.bury()
		return
	}
	select {
	case <-w.exited:
	case <-w.lost:
		w.awaitExit()
	}
	p.mu.Lock()
	w.surprise = w.isServing()
	w.leave(time.Now())
	p.removeIdleLocked(w)
	p.unlinkLocked(w)
	p.topUpLocked()
	p.mu.Unlock()
	w.readRest()
	w.bury()
}

// awaitExit waits for a process that has closed its connection: for a moment, or
// for the kill grace where it was expected to go and may have END blocks to run.
func (w *worker) awaitExit() {
	w.pool.mu.Lock()
	patience := drainTimeout
	if w.state == Draining || w.state == Exiting {
		patience = w.pool.opt.KillGrace
	}
	w.pool.mu.Unlock()
	select {
	case <-w.exited:
	case <-time.After(patience):
		w.kill()
		<-w.exited
	}
}

// readRest waits until what the process wrote before it ended has been read, and
// closes the connection. A child of the application may have it open, too, so the
// end of the data does not always show; a client that is slow to take it may take
// its time.
func (w *worker) readRest() {
	p := w.pool
	select {
	case <-w.known:
	case <-time.After(drainTimeout): // what it said before it ended may still be on its way
	}
	p.mu.Lock()
	delete(p.tokens, w.token)
	conn := w.conn
	p.mu.Unlock()
	if conn == nil {
		return
	}
	for paused := true; paused; {
		select {
		case <-w.lost:
			paused = false
		case <-time.After(drainTimeout):
			p.mu.Lock()
			paused = w.paused
			p.mu.Unlock()
		}
	}
	_ = conn.Close() // an error tells nothing: the peer is gone
	<-w.lost
}

// start starts the process and the goroutines that read its output and wait for it.
func (w *worker) start() error {
	p := w.pool
	cmd, input, err := w.source.start(Setup{
		Dir:    p.dir,
		Socket: filepath.Join(p.dir, "socket"),
		Token:  w.token,
		Worker: w.id,
	})
	if err != nil {
		return err
	}
	cmd.Stdin = strings.NewReader(string(input))
	isolate(cmd)
	output, err := w.captureOutput(cmd)
	if err != nil {
		return err
	}
	err = cmd.Start()
	output.started(err)
	if err != nil {
		return fmt.Errorf("start a worker: %w", err)
	}
	p.mu.Lock()
	w.output, w.pid = output, cmd.Process.Pid
	w.log.Store(w.logger().With("pid", w.pid))
	p.mu.Unlock()
	p.tasks.Go(func() {
		// The error only repeats the state, or says that the input was not read.
		_ = cmd.Wait()
		w.exit = cmd.ProcessState.String()
		output.ended()
		close(w.exited)
	})
	return nil
}

// retire puts DRAIN into the batch: the worker ends once it has done what it has.
// The caller holds Pool.mu and sends the batch.
func (w *worker) retire() {
	switch w.state {
	case Ready, Busy:
		w.state, w.progress, w.retired = Draining, time.Now(), true
	case Starting:
		w.leave(time.Now())
	default:
		return
	}
	w.pool.removeIdleLocked(w)
	w.batch = wire.AppendFrame(w.batch, wire.Drain, 0, 0, nil)
}

// stop sends what retire has put into the batch and waits for the process to end,
// which it does not leave to it for longer than ctx allows.
func (w *worker) stop(ctx context.Context) {
	w.sendBatch()
	w.pool.mu.Lock()
	connected := w.wasReady
	w.pool.mu.Unlock()
	if connected {
		select {
		case <-w.exited:
		case <-ctx.Done():
		}
	}
	select {
	case <-w.exited:
	default:
		w.kill()
	}
	select {
	case <-w.lost: // all it has written was read
	case <-ctx.Done():
	case <-time.After(drainTimeout): // it was never connected, or its client is slow and ctx has no end
	}
	close(w.abort)
}

// kill ends the worker's process group: TERM, then KILL after the grace for
// whatever is left of it, the worker or what it has started.
func (w *worker) kill() {
	<-w.spawned
	w.pool.mu.Lock()
	pid := w.pid
	w.pool.mu.Unlock()
	if pid == 0 {
		return // it could not be started
	}
	terminate(pid)
	deadline := time.After(w.pool.opt.KillGrace)
	exited := w.exited
	for groupExists(pid) {
		select {
		case <-exited:
			exited = nil // look after its children more often
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			killGroup(pid)
			<-w.exited
			return
		}
	}
	<-w.exited
}
