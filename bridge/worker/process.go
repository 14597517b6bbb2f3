package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/internal/buffer"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/internal/hung"
)

// drainTimeout is how long the group waits for the last frames of a dead worker. It is also how
// long a worker may take to end once it has closed its connection.
const drainTimeout = 500 * time.Millisecond

// Process is a Worker: a process that does the host's work. Group.mu guards its fields unless their comments say
// otherwise. The methods of a Process that a host calls need no lock of the group's, unless their comments say so.
type Process struct {
	peer
	station    Station       // the host's side; set before the process is made
	abort      chan struct{} // closed when its reader must not wait for clients any more
	state      atomic.Uint32 // a State; written with Group.mu held
	generation int           // that of its source
	term       term
	end        ending
	trial      chan<- error // of the reload that waits for the result of its start
}

// ending is what is known of a worker's end.
type ending struct {
	left     time.Time // when it became Exiting
	unborn   bool      // its maker has gone, so it was never made
	retired  bool      // it served and was told to go
	killed   bool      // it has passed a time limit
	surprise bool      // its process ended without being asked to
	cause    cause     // why it is replaced, as far as that is known
}

// launchLocked starts a worker, to take over from predecessor unless that is nil.
func (g *Group) launchLocked(predecessor *Process) { g.launchFromLocked(g.source, predecessor) }

func (g *Group) launchFromLocked(src *source, predecessor *Process) *Process {
	g.launched++
	w := &Process{generation: src.generation, abort: make(chan struct{})}
	w.init(g, g.launched, g.journal("worker", g.launched))
	w.term.draw(&g.opt, w.since)
	if g.opt.Listen {
		w.address = filepath.Join(g.home.dir, fmt.Sprintf("worker-%d", w.id))
	}
	if predecessor != nil {
		for other := range g.workers {
			if other.term.successor == predecessor { // predecessor is still starting itself
				other.term.successor = w
			}
		}
		predecessor.term.successor, predecessor.term.due = w, "" // recycleLocked sets due, a reload does not
	}
	g.workers[w] = struct{}{}
	g.tokens[w.token] = w
	g.doubtLocked()
	from := src.makerLocked(g)
	g.tasks.Go(func() { w.live(from) })
	return w
}

// live starts the process and waits until it has ended.
func (w *Process) live(from maker) {
	g := w.group
	w.station = g.host.Employ(w)
	if err := w.start(from); err != nil {
		g.mu.Lock()
		w.end.unborn = errors.Is(err, errZygoteGone)
		g.mu.Unlock()
		w.bury()
		return
	}
	select {
	case <-w.exited:
	case <-w.lost:
		w.station.Withdraw() // no frame can reach it any more
		w.awaitExit(w.patience())
	}
	g.mu.Lock()
	w.end.surprise = w.State() == Serving
	w.leaveLocked(time.Now())
	g.unlinkLocked(w)
	g.topUpLocked()
	g.mu.Unlock()
	w.station.Withdraw()
	w.readRest()
	g.opt.Counts.Gone(w)
	w.bury()
}

// patience is how long the process may take to end once its connection has ended: drainTimeout, or
// the kill grace if it is Draining or Exiting and may have END blocks to run.
func (w *Process) patience() time.Duration {
	if w.State() >= Draining {
		return w.group.opt.KillAfter
	}
	return drainTimeout
}

func (w *Process) role() string { return "" }

// Terms implements Worker.
func (w *Process) Terms() wire.Terms { return w.terms }

func (w *Process) refusedLocked() {
	w.leaveLocked(time.Now())
	w.group.unlinkLocked(w)
}

// stop tells the worker to go and waits for its process to end. It kills the
// process when ctx ends, or at once if the worker was never ready.
func (w *Process) stop(ctx context.Context) {
	g := w.group
	g.mu.Lock()
	tell, connected := false, w.wasReady
	switch w.State() {
	case Starting:
		tell = true
		w.leaveLocked(time.Now())
	case Serving:
		tell = true
		w.retireLocked()
	}
	g.mu.Unlock()
	switch {
	case tell && connected:
		w.station.Drain()
	case tell:
		w.Drain()
		w.flush()
	}
	if connected {
		select {
		case <-w.exited:
		case <-ctx.Done():
		}
	}
	if !w.hasExited() {
		w.kill()
	}
	select {
	case <-w.lost: // the reader has read all that it wrote
	case <-ctx.Done():
	case <-time.After(drainTimeout): // it never connected, or its client is slow and ctx has no end
	}
	close(w.abort)
}

// retireLocked makes a Serving worker Draining. The caller has DRAIN sent.
func (w *Process) retireLocked() {
	if w.enterLocked(Draining) {
		w.end.retired = true
	}
}

// ID implements Worker.
func (w *Process) ID() int { return w.id }

// Logger implements Worker.
func (w *Process) Logger() *slog.Logger { return w.logger() }

// Log implements Worker.
func (w *Process) Log(log *slog.Logger, frame wire.Frame) { LogFrame(log, frame) }

// LogFrame logs the text of a LOG frame, at its level, and gives back the frame's buffer.
func LogFrame(log *slog.Logger, frame wire.Frame) {
	text := strings.Trim(string(frame.Payload[:min(len(frame.Payload), wire.MaxMessage)]), "\r\n")
	log.Log(context.Background(), levelOf(frame), text)
	buffer.Put(frame.Buffer)
}

// Descriptor implements Worker. A process of this user names its files by their paths.
func (w *Process) Descriptor() (*os.File, error) { return nil, ErrNoDescriptors }

// Queue implements Worker.
func (w *Process) Queue(mark uint32, first, second []byte) int {
	return w.out.Queue(mark, first, second)
}

// Flush implements Worker.
func (w *Process) Flush() { w.flush() }

// Delivery implements Worker.
func (w *Process) Delivery() Delivery { return w.out.Delivery() }

// Drain implements Worker.
func (w *Process) Drain() { w.out.Queue(0, wire.AppendFrame(nil, wire.Drain, 0, 0, nil), nil) }

// SetPaused implements Worker.
func (w *Process) SetPaused(is bool) { w.paused.Store(is) }

// Paused implements Worker.
func (w *Process) Paused() bool { return w.paused.Load() }

// Aborted implements Worker.
func (w *Process) Aborted() <-chan struct{} { return w.abort }

// Relieved implements Worker.
func (w *Process) Relieved() bool { return w.term.relieved.Load() }

// Kill implements Worker. It takes the group's lock.
func (w *Process) Kill(why Overdue) bool {
	g := w.group
	g.mu.Lock()
	defer g.mu.Unlock()
	if s := w.State(); s != Serving && s != Draining {
		return false
	}
	w.killLocked(time.Now(), why)
	g.topUpLocked()
	return true
}

// killLocked has a worker killed that has passed a time limit. Where it was is found out before.
func (w *Process) killLocked(now time.Time, why Overdue) {
	w.end.killed = true
	w.blameLocked(causeTimedOut)
	w.leaveLocked(now)
	w.group.tasks.Go(func() {
		w.examine(why)
		w.kill()
	})
}

// examine finds out and logs where the worker is, in hung.Patience at most.
func (w *Process) examine(why Overdue) {
	<-w.spawned
	g := w.group
	g.mu.Lock()
	made := w.made
	g.mu.Unlock()
	if made.pid == 0 || w.hasExited() {
		return
	}
	h := hung.Examine(hung.Process{
		PID: made.pid, Signal: g.opt.Signal(), Inbox: &made.output.inbox, HasEnded: w.hasExited, Hurry: g.hurry,
	})
	h.Reason, h.Request = why.Reason, why.Request
	g.mu.Lock()
	g.counts.hang = &h
	g.mu.Unlock()
	hung.Log(w.logger(), &h)
}
