package pool

import (
	"context"
	"errors"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
)

const (
	// drainTimeout is how long what a dead worker has written is waited for, and
	// how long one that has closed its connection may take to end.
	drainTimeout = 500 * time.Millisecond
)

// worker is a process that serves requests. Its fields are guarded by Pool.mu,
// except where it says otherwise.
type worker struct {
	peer
	maker maker         // what makes its process
	abort chan struct{} // closed when no client is to be waited for any more

	state     State
	unborn    bool                          // what was to make its process has gone
	inflight  []*exchange                   // what it has been given, in order
	owed      map[uint32]struct{}           // streams taken back from it and not answered yet
	unsure    bool                          // it is busy with one of those
	names     [wire.MaxNames]*wire.NameList // what it has been told
	left      time.Time                     // when it became Exiting
	killed    bool                          // kill is at work
	retired   bool                          // it served and was told to go
	surprise  bool                          // its process ended unasked
	cleaning  bool                          // busy with what an application does after its answer
	cleanedUp string                        // the request it has answered last, and cleans up after
	cleanedID string                        // and its ID
	served    int
	progress  time.Time     // of the last sign of life while busy
	begun     time.Time     // about when the request it answers was begun
	average   time.Duration // of its requests
	stall     *time.Timer
	successor *worker // takes over when it is ready
	source    *source
	limit     int          // how many requests it is to serve, 0 for any number
	expires   time.Time    // when it is to be replaced, where there is a MaxAge
	rss       int64        // its memory when it was last looked at
	weigh     bool         // its memory is to be looked at when it is free
	trial     chan<- error // of the reload that started it and waits for how that goes
}

// launchLocked starts a worker, to take over from predecessor unless that is nil.
func (p *Pool) launchLocked(predecessor *worker) { p.launchFromLocked(p.source, predecessor) }

func (p *Pool) launchFromLocked(src *source, predecessor *worker) *worker {
	p.launched++
	w := &worker{maker: src.makerLocked(p), source: src, abort: make(chan struct{})}
	w.init(p, p.launched, p.journal("worker", p.launched))
	w.drawLimits()
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
	if err := w.start(w.maker); err != nil {
		p.mu.Lock()
		w.unborn = errors.Is(err, errZygoteGone)
		p.mu.Unlock()
		w.bury()
		return
	}
	select {
	case <-w.exited:
	case <-w.lost:
		p.mu.Lock()
		p.removeIdleLocked(w) // nothing reaches it any more
		p.mu.Unlock()
		w.awaitExit(w.patience())
	}
	w.end()
}

// end is called when the process has ended.
func (w *worker) end() {
	p := w.pool
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

// patience is how long the process may take to end once its connection has: a
// moment, or the kill grace where it was expected to go and may have END blocks to
// run.
func (w *worker) patience() time.Duration {
	w.pool.mu.Lock()
	defer w.pool.mu.Unlock()
	if w.state == Draining || w.state == Exiting {
		return w.pool.opt.KillGrace
	}
	return drainTimeout
}

func (w *worker) role() string { return "" }

func (w *worker) refusedLocked() {
	w.leave(time.Now())
	w.pool.unlinkLocked(w)
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
