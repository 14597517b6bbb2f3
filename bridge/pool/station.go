package pool

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
)

// station is what the pool has of one worker: the requests that it was given, and what it does. Pool.mu guards its
// fields unless their comments say otherwise.
type station struct {
	pool    *Pool
	process worker.Worker

	phase     phase
	state     State
	duties    duties                        // the requests that it was given and has not answered
	last      duty                          // the duty that it answered last, without its exchange
	names     [wire.MaxNames]*wire.NameList // the lists of names that it was sent
	unsent    int                           // about how many bytes of frames wait to be written
	progress  time.Time                     // of the last sign of life while busy
	busySince time.Time                     // about when the request it answers was begun, without the time its client took
	begun     time.Time                     // about when it was begun
	average   time.Duration                 // of its requests
	stall     *time.Timer
	part      part  // its part in the crowd
	waits     waits // without its sleeps
}

// Employ implements worker.Host.
func (p *Pool) Employ(process worker.Worker) worker.Station {
	w := &station{pool: p, process: process}
	p.mu.Lock()
	p.stations[w] = struct{}{}
	p.mu.Unlock()
	return w
}

// logger returns the logger for records about the worker.
func (w *station) logger() *slog.Logger { return w.process.Logger() }

// Ready implements worker.Station.
func (w *station) Ready() {
	p := w.pool
	p.mu.Lock()
	w.progress = time.Now()
	send := w.phase.enter(employed) && p.freeLocked(w)
	p.mu.Unlock()
	if send {
		w.process.Flush()
	}
}

// Idle implements worker.Station.
func (w *station) Idle() (since time.Time, is bool) {
	w.pool.mu.Lock()
	defer w.pool.mu.Unlock()
	return w.progress, w.phase == employed && w.state == Ready
}

// Relieve implements worker.Station. A busy worker makes way when it is free.
func (w *station) Relieve() {
	p := w.pool
	p.mu.Lock()
	send := w.phase == employed && w.state == Ready && w.makeWayLocked()
	p.mu.Unlock()
	if send {
		w.process.Flush()
	}
}

// makeWayLocked tells a relieved worker without requests to go, and reports whether it has. The caller flushes.
func (w *station) makeWayLocked() bool {
	if !w.process.Relieved() || !w.process.MakeWay() {
		return false
	}
	w.progress = time.Now()
	w.withdrawLocked()
	return true
}

// Withdraw implements worker.Station.
func (w *station) Withdraw() {
	w.pool.mu.Lock()
	defer w.pool.mu.Unlock()
	w.withdrawLocked()
}

// withdrawLocked gives the worker no more requests.
func (w *station) withdrawLocked() {
	if w.phase.enter(gone) {
		w.leaveLocked()
		w.pool.removeIdleLocked(w)
	}
}

// Drain implements worker.Station.
func (w *station) Drain() {
	w.pool.mu.Lock()
	w.progress = time.Now()
	w.withdrawLocked()
	w.process.Drain()
	w.pool.mu.Unlock()
	w.process.Flush()
}

// Exiting implements worker.Station.
func (w *station) Exiting() error {
	p := w.pool
	p.mu.Lock()
	if d := w.duties.current(); d != nil && w.state != Cleaning && (d.begun || d.x != nil) {
		p.mu.Unlock()
		return fmt.Errorf("%w: EXITING in the middle of a request", ErrProtocol)
	}
	w.withdrawLocked()
	waiting, _ := w.duties.releaseFrom(0)
	send := p.requeueLocked(waiting)
	p.checkDrainedLocked()
	p.mu.Unlock()
	flush(send)
	return nil
}

// Broken implements worker.Station. The request that the worker is busy with is taken for the cause and is not repeated,
// because it could cost the next worker, too. It fails, and the others go to other workers.
func (w *station) Broken(err error) {
	p := w.pool
	delivery := w.process.Delivery()
	p.mu.Lock()
	if d := w.duties.current(); d != nil && w.state != Cleaning {
		d.begun = true
	}
	w.withdrawLocked()
	begun, waiting := w.partLocked(delivery, false)
	send := p.requeueLocked(waiting)
	p.checkDrainedLocked()
	p.mu.Unlock()
	if begun != nil {
		// err is formatted, not wrapped: an error of package wire would mean that the request
		// cannot be sent.
		begun.fail(fmt.Errorf("%w: %v", ErrWorkerDied, err))
	}
	flush(send)
}

// Ended implements worker.Station. The worker's requests go to other workers or fail.
func (w *station) Ended(end worker.End) (atWork bool) {
	p := w.pool
	delivery := w.process.Delivery()
	p.mu.Lock()
	if w.stall != nil {
		w.stall.Stop()
	}
	w.withdrawLocked()
	delete(p.stations, w)
	var in subject // the request during which it died
	if d := w.duties.current(); d != nil && w.state != Cleaning && d.stream != delivery.Undelivered {
		in = d.subject
	}
	begun, waiting := w.partLocked(delivery, end.Reset)
	send := p.requeueLocked(waiting)
	p.checkDrainedLocked()
	p.mu.Unlock()
	if atWork = in.label != ""; atWork {
		in.on(w.logger()).Error("the worker died in a request", "exit", end.Exit)
	}
	if begun != nil {
		begun.fail(fmt.Errorf("%w (%s)", ErrWorkerDied, end.Exit))
	}
	flush(send)
	return atWork
}

// flush writes what was queued for these workers.
func flush(send []*station) {
	for _, w := range send {
		w.process.Flush()
	}
}

// Stranded implements worker.Host: the requests that wait fail.
func (p *Pool) Stranded() {
	p.mu.Lock()
	if p.group.Circuit() == worker.Closed {
		p.mu.Unlock()
		return
	}
	stranded := p.queue.takeAll()
	now := time.Now()
	for _, x := range stranded {
		p.waitedLocked(x, now)
	}
	p.checkDrainedLocked()
	p.mu.Unlock()
	for _, x := range stranded {
		x.fail(ErrNoWorkers)
	}
}

// weighBetween checks the memory of a worker between two requests and then frees it. freeLocked
// calls it in a goroutine of its own.
func (w *station) weighBetween() {
	w.process.Weigh()
	p := w.pool
	p.mu.Lock()
	send := p.freeLocked(w)
	p.checkDrainedLocked()
	p.mu.Unlock()
	if send {
		w.process.Flush()
	}
}
