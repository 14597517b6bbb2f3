package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/internal/buffer"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
)

// errZygoteGone is the reason why a worker cannot be made: its zygote has ended, or soon will.
var errZygoteGone = errors.New("the zygote has gone")

// zygoteState is a stage in the life of a zygote.
//
//	zygoteStarting --READY--> zygoteReady --retire--> zygoteRetired
//	      |                        |                        |
//	      |                        | hung, ended            | no child left: DRAIN
//	      +---- failed, late ------+------> zygoteLeaving <-+
//	                                             |
//	                                             +--process ended--> zygoteDead
//
// Only a ready zygote is asked to fork. A retired one stays to report the ends of the workers that
// it has forked; it goes with the last of them.
type zygoteState uint8

const (
	zygoteStarting zygoteState = iota
	zygoteReady
	zygoteRetired
	zygoteLeaving
	zygoteDead
)

var zygoteStateNames = [...]string{"starting", "ready", "retired", "leaving", "dead"}

func (s zygoteState) String() string { return zygoteStateNames[s] }

// mayBecome reports whether the drawing has an arrow from s to next.
func (s zygoteState) mayBecome(next zygoteState) bool {
	switch next {
	case zygoteReady:
		return s == zygoteStarting
	case zygoteRetired:
		return s == zygoteReady
	case zygoteLeaving:
		return s < zygoteLeaving
	case zygoteDead:
		return s == zygoteLeaving
	}
	return false
}

// enterLocked takes the zygote to the next stage, where the drawing has an arrow to it, and reports whether it has.
func (z *zygote) enterLocked(next zygoteState) bool {
	if !z.state.mayBecome(next) {
		return false
	}
	z.state = next
	return true
}

// zygote is the process that has loaded the application and forks the workers. Group.mu guards its
// fields unless their comments say otherwise.
type zygote struct {
	peer
	state   zygoteState
	asked   bool          // it was told to go, or has said that it goes
	settled chan struct{} // closed when it is ready, or will never be
	gone    chan struct{} // closed when it has ended and all its frames were read
	readyAt time.Time
	useful  bool                       // it has forked a worker
	forks   map[string]chan forkResult // by token; each has room for its result
	// children are the running children by pid.
	children map[int]*child
}

type forkResult struct {
	child *child
	err   error
}

// live starts the process and waits until it has ended.
func (z *zygote) live() {
	if z.start(program{preload: true}) == nil {
		patience := drainTimeout
		select {
		case <-z.exited:
		case <-z.lost:
		}
		z.group.mu.Lock()
		if z.asked {
			patience = z.group.opt.KillAfter
		}
		z.leaveLocked()
		z.group.mu.Unlock()
		z.awaitExit(patience)
		z.readRest()
	}
	z.bury()
}

func (z *zygote) role() string { return wire.RoleZygote }

func (z *zygote) refusedLocked() {
	z.leaveLocked()
	z.settleLocked()
}

// read handles a zygote's frames until its connection ends.
func (z *zygote) read(reader *wire.Reader) error {
	for {
		frame, err := reader.Next()
		if err != nil {
			return err
		}
		switch frame.Type {
		case wire.Ready:
			err = z.ready()
		case wire.Failed:
			z.failed(string(frame.Payload))
		case wire.Log:
			z.logger().Log(context.Background(), levelOf(frame), strings.TrimSpace(string(frame.Payload[:min(len(frame.Payload), wire.MaxMessage)])))
		case wire.Forked:
			err = z.forked(frame.Payload)
		case wire.Exited:
			err = z.childExited(frame.Payload)
		default:
			err = fmt.Errorf("a %s frame from a zygote", frame.Type)
		}
		buffer.Put(frame.Buffer)
		if err != nil {
			return err
		}
	}
}

func (z *zygote) ready() error {
	g := z.group
	g.mu.Lock()
	if z.wasReady {
		g.mu.Unlock()
		return errors.New("a second READY")
	}
	z.wasReady = true
	if z.enterLocked(zygoteReady) {
		z.readyAt = time.Now()
		z.settleLocked()
	}
	g.mu.Unlock()
	z.logger().Debug("the zygote is ready", "took", time.Since(z.since).Round(time.Millisecond))
	return nil
}

func (z *zygote) failed(message string) {
	g := z.group
	g.mu.Lock()
	defer g.mu.Unlock()
	z.failure, z.asked = Shorten(message), true
	z.leaveLocked()
	z.settleLocked()
	g.tasks.Go(func() { z.dismiss(context.Background()) })
}

// settleLocked wakes the goroutine that waits for the zygote to be ready.
func (z *zygote) settleLocked() {
	select {
	case <-z.settled:
	default:
		close(z.settled)
	}
}

// leaveLocked takes the zygote out of use.
func (z *zygote) leaveLocked() {
	if z.enterLocked(zygoteLeaving) {
		z.group.orphanLocked(z)
	}
}

// condemnLocked has the zygote killed; why is the reason.
func (z *zygote) condemnLocked(why string) {
	if z.state < zygoteLeaving {
		z.failure, z.asked = why, true
		z.leaveLocked()
		z.group.tasks.Go(z.kill)
	}
}

// retireLocked stops the zygote from forking. The zygote goes when no child is left.
func (z *zygote) retireLocked() {
	z.enterLocked(zygoteRetired)
	if z.state == zygoteRetired && len(z.children)+len(z.forks) == 0 {
		z.drainLocked()
		z.group.tasks.Go(func() { z.dismiss(context.Background()) })
	}
}

// drainLocked queues DRAIN, which the caller flushes.
func (z *zygote) drainLocked() {
	z.asked = true
	z.leaveLocked()
	z.out.Queue(0, wire.AppendFrame(nil, wire.Drain, 0, 0, nil), nil)
}

// dismiss writes what is queued and waits for the process to end, for the kill grace or until ctx ends.
// Then it kills the process.
func (z *zygote) dismiss(ctx context.Context) {
	z.flush()
	select {
	case <-z.exited:
		return
	case <-ctx.Done():
	case <-time.After(z.group.opt.KillAfter):
	}
	z.kill()
}

// bury removes a zygote that has ended from the group.
func (z *zygote) bury() {
	g := z.group
	words := z.lastWords()
	g.mu.Lock()
	if z.failure == "" && z.readyAt.IsZero() {
		z.failure = "it ended before it was ready (" + z.exit + ")"
		if words != "" {
			z.failure += ": " + words
		}
	}
	why, surprise := z.failure, !z.asked
	orphans := len(z.children)
	wasReady := !z.readyAt.IsZero()
	z.leaveLocked()
	z.enterLocked(zygoteDead)
	delete(g.nursery.all, z)
	delete(g.tokens, z.token)
	z.settleLocked()
	g.mu.Unlock()
	close(z.gone)
	switch {
	case wasReady && why != "":
		z.logger().Error("the zygote was killed; its workers go on", "reason", why, "exit", z.exit, "workers", orphans)
	case wasReady && surprise:
		z.logger().Error("the zygote died; its workers go on", "exit", z.exit, "workers", orphans)
	default:
		z.logger().Debug("the zygote ended", "exit", z.exit)
	}
}
