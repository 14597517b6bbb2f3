package pool

import (
	"context"
	"errors"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
)

const (
	// drainTimeout is how long the pool waits for the last frames of a dead worker. It is also how
	// long a worker may take to end once it has closed its connection.
	drainTimeout = 500 * time.Millisecond
)

// worker is a process that serves requests. Pool.mu guards its fields unless their comments say
// otherwise.
type worker struct {
	peer
	maker maker         // makes its process
	abort chan struct{} // closed when its reader must not wait for clients any more

	state     State
	unborn    bool                          // its maker has gone, so it was never made
	duties    duties                        // the requests that it was given and has not answered
	last      duty                          // the duty that it answered last, without its exchange
	names     [wire.MaxNames]*wire.NameList // the lists of names that it was sent
	left      time.Time                     // when it became Exiting
	killed    bool                          // kill was called
	retired   bool                          // it served and was told to go
	surprise  bool                          // its process ended without being asked to
	cleaning  bool                          // it runs what an application does after its answer
	served    int
	progress  time.Time     // of the last sign of life while busy
	busySince time.Time     // about when the request it answers was begun, without the time its client took
	begun     time.Time     // about when it was begun
	average   time.Duration // of its requests
	stall     *time.Timer
	successor *worker // takes over when it is ready
	cause     cause   // why it is replaced, as far as that is known
	due       string  // why it is to be replaced; "": it is not, or by a reload
	source    *source
	limit     int          // how many requests it is to serve, 0 for any number
	expires   time.Time    // when it is to be replaced, where there is a MaxAge
	rss       int64        // its memory when it was last looked at
	weigh     bool         // its memory must be checked when it is free
	trial     chan<- error // of the reload that waits for the result of its start
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
			if other.successor == predecessor { // predecessor is still starting itself
				other.successor = w
			}
		}
		predecessor.successor, predecessor.due = w, "" // recycleLocked sets due, a reload does not
	}
	p.workers[w] = struct{}{}
	p.tokens[w.token] = w
	p.tasks.Go(w.live)
	return w
}

// live starts the process and waits until it has ended.
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
		p.removeIdleLocked(w) // no frame can reach it any more
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

// patience is how long the process may take to end once its connection has ended: drainTimeout, or
// the kill grace if it is Draining or Exiting and may have END blocks to run.
func (w *worker) patience() time.Duration {
	w.pool.mu.Lock()
	defer w.pool.mu.Unlock()
	if w.state == Draining || w.state == Exiting {
		return w.pool.opt.KillAfter
	}
	return drainTimeout
}

func (w *worker) role() string { return "" }

func (w *worker) refusedLocked() {
	w.leave(time.Now())
	w.pool.unlinkLocked(w)
}

// retire puts DRAIN into the batch: the worker ends once it has answered its requests. The caller
// holds Pool.mu and sends the batch.
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

// stop sends the batch that retire has prepared and waits for the process to end. It kills the
// process when ctx ends, or at once if the worker was never ready.
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
	case <-w.lost: // the reader has read all that it wrote
	case <-ctx.Done():
	case <-time.After(drainTimeout): // it never connected, or its client is slow and ctx has no end
	}
	close(w.abort)
}
