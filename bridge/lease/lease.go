// Package lease puts the workers of a mount into another process than the requests. The adapter has a Keeper: it runs a
// worker.Group whose workers listen, and tells gateways of them. The gateway has a Crew: it dials these workers, and gives
// them to a worker.Host, such as a pool.Pool, as if they were its own processes. Requests go over the connection between
// gateway and worker; there is no further hop.
//
// A lease is one connection of one gateway to one worker. A blocking worker has one at a time, so that a second gateway's
// dial waits in the backlog until the first has ended its lease. A multiplexing worker may have several. The end of a lease
// is not the end of the worker: the next gateway finds it warm.
//
// Between the two sides is Control, a small interface of plain data. The keeper decides on processes: how many there are,
// when one is replaced, how one has ended. The gateway decides on requests: which worker gets one, and when a worker has
// taken too long. If the line between them is cut, leases go on; see Crew.Attach.
//
// The files, by what they are about:
//
//   - control.go is what passes between the two sides.
//   - keeper.go is the adapter's side, post.go what it has of a worker, session.go what it has of a gateway.
//   - crew.go is the gateway's side, dial.go makes leases, and this file is one.
package lease

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/internal/descriptor"
	"github.com/pagi-go/pagi-bridge/bridge/internal/outbox"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
)

const (
	// endTime is how long the keeper may take to tell how a worker has ended that has closed its connection. It is also how
	// long the rest of what a worker has written may take to be read after its end.
	endTime = 500 * time.Millisecond
	// killTime is how long a worker may take to end, beyond the kill grace, that the keeper was told to kill.
	killTime = 2 * time.Second
)

// lease is a worker.Worker: one connection to a worker of a keeper.
//
//	Serving --Relieve, MakeWay: Release--> Draining --Go: DRAIN, the process ends--> Dead
//	   |                                       |------Stay, Leave: the connection ends--> Dead
//	   +--Kill, withdrawn--> Exiting --the process ends--> Dead
type lease struct {
	crew     *Crew
	place    *place
	endpoint Endpoint // what it was when the lease was made; constant
	log      *slog.Logger
	reader   *wire.Reader
	files    *descriptor.Reader // nil if no descriptors can come
	out      outbox.Outbox
	terms    wire.Terms
	station  worker.Station

	state     atomic.Uint32 // a worker.State
	paused    atomic.Bool
	relieved  atomic.Bool
	mustWeigh atomic.Bool
	isReady   atomic.Bool // the host may give it work
	given     atomic.Bool // this side has ended the connection, or is about to
	orphaned  atomic.Bool // its keeper is another one's, or gone
	drained   atomic.Bool // DRAIN is queued
	killed    atomic.Bool
	served    atomic.Int64

	abort     chan struct{} // closed when the reader must not wait for clients any more
	abortOnce sync.Once
	lost      chan struct{} // closed when the reader has ended
	ended     chan struct{} // closed when the keeper has told how the process has ended
	exit      string        // valid after ended
	reset     bool          // the process had not read all that was written; valid after lost
}

var (
	_ worker.Worker = (*lease)(nil)
	_ worker.Crew   = (*Crew)(nil)
	_ Control       = (*Keeper)(nil)
)

// live reads what the worker sends until the lease has ended.
func (l *lease) live() {
	c := l.crew
	c.tasks.Go(l.read)
	select {
	case <-l.lost:
		l.station.Withdraw()
		l.awaitEnd()
	case <-l.ended:
		l.station.Withdraw()
		l.readRest()
	}
	l.enter(worker.Exiting)
	l.out.Close()
	<-l.lost
	if l.files != nil {
		if err := l.files.CloseRest(); err != nil {
			l.log.Debug("cannot close a descriptor that came", "error", err)
		}
	}
	end := worker.End{Exit: "how is not known", Reset: l.reset}
	hasEnded := l.hasEnded()
	switch {
	case hasEnded:
		end.Exit = l.exit
	case l.given.Load():
		end.Exit = "the connection was ended"
	}
	c.opt.Counts.Gone(l)
	atWork := l.station.Ended(end)
	l.enter(worker.Dead)
	c.ended(l, hasEnded, atWork)
}

// awaitEnd waits until the keeper tells how the process has ended. A worker that has closed its connection and goes on is
// killed.
func (l *lease) awaitEnd() {
	if l.given.Load() || l.orphaned.Load() {
		return
	}
	wait := func(d time.Duration) bool {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-l.ended:
			return true
		case <-timer.C:
			return false
		case <-l.abort:
			return true
		}
	}
	grace := endTime
	if worker.State(l.state.Load()) >= worker.Draining {
		grace = l.crew.opt.KillAfter // it may have END blocks to run
	}
	if wait(grace) {
		return
	}
	if l.order(Kill{Reason: "it has closed its connection and has not ended", Broken: true}) {
		wait(l.crew.opt.KillAfter + killTime)
	}
}

// readRest waits until the reader has read all that the process wrote before it ended. A child of the application may hold
// the connection open, so the end of the data cannot always be seen. A slow client of that data may take its time.
func (l *lease) readRest() {
	for waits := true; waits; {
		select {
		case <-l.lost:
			waits = false
		case <-time.After(endTime):
			waits = l.paused.Load()
		}
	}
}

func (l *lease) hasEnded() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

// read handles the worker's frames until the connection ends.
func (l *lease) read() {
	defer close(l.lost)
	l.station.Ready()
	l.isReady.Store(true)
	l.crew.wake()
	err := l.readFrames()
	l.reset = errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	switch {
	case errors.Is(err, worker.ErrProtocol), errors.Is(err, wire.ErrMalformed), errors.Is(err, wire.ErrTooLarge):
		l.enter(worker.Exiting)
		l.station.Broken(err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), l.reset:
		return
	}
	l.log.Error("the worker broke the protocol and is killed", "error", err)
	l.kill(Kill{Reason: "it broke the protocol: " + err.Error(), Broken: true})
}

func (l *lease) readFrames() error {
	for {
		frame, err := l.reader.Next()
		if err != nil {
			return err
		}
		switch frame.Type {
		case wire.Exiting:
			if err = l.station.Exiting(); err == nil {
				l.enter(worker.Exiting)
			}
		case wire.Count:
			err = l.crew.opt.Counted(l.terms, l, frame)
		case wire.Ready:
			err = fmt.Errorf("%w: a second READY", worker.ErrProtocol)
		case wire.Failed:
			err = fmt.Errorf("%w: FAILED after READY", worker.ErrProtocol)
		default:
			err = l.station.Frame(frame)
		}
		if err != nil {
			return err
		}
	}
}

// told does what the keeper says of the worker. It does not wait for the worker.
func (l *lease) told(e Endpoint) {
	if e.Weigh {
		l.mustWeigh.Store(true)
	}
	switch e.State {
	case Serving:
		if !l.crew.isClosing() {
			l.relieved.Store(false)
		}
	case Relieved:
		l.relieved.Store(true)
		l.station.Relieve()
	case Draining:
		l.crew.tasks.Go(l.drainStation)
	case Withdrawn:
		l.enter(worker.Exiting)
		l.station.Withdraw()
	case Ended:
		l.exit = e.Exit
		close(l.ended)
	}
}

// drainStation has the worker told to go, behind the work that it has.
func (l *lease) drainStation() {
	l.enter(worker.Draining)
	l.station.Drain()
}

// enter takes the worker to a later stage, and reports whether it has.
func (l *lease) enter(next worker.State) bool {
	for {
		is := l.state.Load()
		if is >= uint32(next) {
			return false
		}
		if l.state.CompareAndSwap(is, uint32(next)) {
			return true
		}
	}
}

// giveBack ends the connection of a worker that has no work.
func (l *lease) giveBack() {
	l.given.Store(true)
	l.out.Close()
}

// cut ends the connection, whatever the worker does.
func (l *lease) cut() {
	l.abortOnce.Do(func() { close(l.abort) })
	l.giveBack()
}

// order tells the keeper something of the worker, and reports whether it could be told.
func (l *lease) order(k Kill) bool {
	c := l.crew
	control, known := c.controlOf(l)
	if !known {
		return false
	}
	k.Gateway, k.Worker = c.name, l.endpoint.Worker
	ctx, cancel := c.patience()
	defer cancel()
	if _, err := control.Kill(ctx, k); err != nil {
		l.log.Error("the keeper cannot be told to kill the worker", "error", err, "reason", k.Reason)
		return false
	}
	return true
}

// kill has the worker killed, once.
func (l *lease) kill(k Kill) {
	if l.killed.Swap(true) {
		return
	}
	l.crew.tasks.Go(func() {
		if !l.order(k) {
			l.cut() // nothing else is left to do
		}
	})
}

// release asks the keeper what becomes of a worker that was relieved.
func (l *lease) release() {
	c := l.crew
	control, known := c.controlOf(l)
	switch {
	case l.orphaned.Load(): // there is no keeper to ask, and none to tell it
		l.Drain()
		l.Flush()
		return
	case c.isClosing(), !known:
		l.giveBack()
		return
	}
	ctx, cancel := c.patience()
	defer cancel()
	r, err := control.Release(ctx, Release{Gateway: c.name, Worker: l.endpoint.Worker})
	if err != nil || r.Verdict != Go {
		l.giveBack()
		return
	}
	l.Drain()
	l.Flush()
}

// ID implements worker.Worker.
func (l *lease) ID() int { return l.endpoint.Worker }

// PID implements worker.Worker.
func (l *lease) PID() int { return l.endpoint.PID }

// State implements worker.Worker.
func (l *lease) State() worker.State { return worker.State(l.state.Load()) }

// Terms implements worker.Worker.
func (l *lease) Terms() wire.Terms { return l.terms }

// Logger implements worker.Worker.
func (l *lease) Logger() *slog.Logger { return l.log }

// Log implements worker.Worker.
func (l *lease) Log(log *slog.Logger, frame wire.Frame) { worker.LogFrame(log, frame) }

// Descriptor implements worker.Worker.
func (l *lease) Descriptor() (*os.File, error) {
	if l.files == nil || !l.terms.Features.Has(wire.FeatureDescriptors) {
		return nil, worker.ErrNoDescriptors
	}
	return l.files.Take()
}

// Queue implements worker.Worker.
func (l *lease) Queue(mark uint32, first, second []byte) int { return l.out.Queue(mark, first, second) }

// Flush implements worker.Worker.
func (l *lease) Flush() {
	if err := l.out.Flush(); err != nil {
		l.log.Debug("cannot write to the worker", "error", err)
	}
}

// Delivery implements worker.Worker.
func (l *lease) Delivery() worker.Delivery { return l.out.Delivery() }

// Drain implements worker.Worker.
func (l *lease) Drain() {
	if !l.drained.Swap(true) {
		l.out.Queue(0, wire.AppendFrame(nil, wire.Drain, 0, 0, nil), nil)
	}
}

// SetPaused implements worker.Worker.
func (l *lease) SetPaused(is bool) { l.paused.Store(is) }

// Paused implements worker.Worker.
func (l *lease) Paused() bool { return l.paused.Load() }

// Aborted implements worker.Worker.
func (l *lease) Aborted() <-chan struct{} { return l.abort }

// Served implements worker.Worker. The keeper is told soon, and at once of the first request and of the one that uses up the
// quota.
func (l *lease) Served() {
	if n := l.served.Add(1); n == 1 || l.endpoint.Limited && n == int64(l.endpoint.Quota) {
		l.crew.nudge()
	}
}

// MustWeigh implements worker.Worker.
func (l *lease) MustWeigh() bool { return l.mustWeigh.Load() && l.mustWeigh.Swap(false) }

// Weigh implements worker.Worker. It waits for the keeper, except for a worker that has other work meanwhile.
func (l *lease) Weigh() {
	if l.endpoint.Kind == Scopes {
		l.crew.tasks.Go(l.weigh)
		return
	}
	l.weigh()
}

func (l *lease) weigh() {
	control, known := l.crew.controlOf(l)
	if !known {
		return
	}
	ctx, cancel := l.crew.patience()
	defer cancel()
	if err := control.Weigh(ctx, Weigh{l.endpoint.Worker}); err != nil {
		l.log.Debug("the keeper cannot weigh the worker", "error", err)
	}
}

// Relieved implements worker.Worker.
func (l *lease) Relieved() bool { return l.relieved.Load() }

// MakeWay implements worker.Worker. Whether the worker goes, or another lease on it follows, the keeper decides later.
func (l *lease) MakeWay() bool {
	if !l.relieved.Load() || !l.state.CompareAndSwap(uint32(worker.Serving), uint32(worker.Draining)) {
		return false
	}
	l.crew.releases(1)
	l.crew.tasks.Go(func() {
		l.release()
		l.crew.releases(-1)
	})
	return true
}

// Kill implements worker.Worker.
func (l *lease) Kill(why worker.Overdue) bool {
	if s := l.State(); s != worker.Serving && s != worker.Draining || !l.enter(worker.Exiting) {
		return false
	}
	l.kill(Kill{Reason: why.Reason, Request: why.Request})
	return true
}

// controlOf returns the keeper of a lease, if it can be asked.
func (c *Crew) controlOf(l *lease) (control Control, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.control, c.control != nil && !l.orphaned.Load()
}

// releases counts the questions that wait for the keeper's verdict.
func (c *Crew) releases(change int) {
	c.mu.Lock()
	c.releasing += change
	stranded := c.changedLocked()
	c.mu.Unlock()
	if stranded {
		c.tasks.Go(c.host.Stranded) // the host's lock may be held
	}
}

// wake is called when a lease is ready.
func (c *Crew) wake() {
	c.mu.Lock()
	stranded := c.changedLocked()
	c.mu.Unlock()
	c.nudge()
	c.strand(stranded)
}

func (c *Crew) isClosing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stage >= closing
}

// ended removes a lease. Where the worker goes on, another lease is made.
func (c *Crew) ended(l *lease, hasEnded, atWork bool) {
	c.mu.Lock()
	p, id := l.place, l.endpoint.Worker
	p.lease = nil
	c.served[id] += int(l.served.Load())
	switch {
	case hasEnded:
		c.ends = append(c.ends, EndReport{Worker: id, Served: c.served[id], AtWork: atWork})
		c.forgetLocked(p)
	case l.orphaned.Load():
		c.forgetLocked(p)
	case p.follow != nil && p.follow.Err() == nil:
		c.dialLocked(p.follow, p)
	}
	stranded := c.changedLocked()
	c.mu.Unlock()
	c.nudge()
	c.strand(stranded)
}
