package pool

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
)

// errZygoteGone is why a worker is not made whose zygote has ended, or soon will.
var errZygoteGone = errors.New("the zygote has gone")

// zygoteState is where a zygote is in its life.
//
//	zygoteStarting --READY--> zygoteReady --retire--> zygoteRetired
//	      |                        |                        |
//	      |                        | hung, ended            | no child left: DRAIN
//	      +---- failed, late ------+------> zygoteLeaving <-+
//	                                             |
//	                                             +--process ended--> zygoteDead
//
// Only a Ready zygote is asked to fork. A Retired one is there for what it has
// forked, whose end it reports; it goes with the last of them.
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

// zygote is the process that has loaded the application and forks the workers. Its
// fields are guarded by Pool.mu, except where it says otherwise.
type zygote struct {
	peer
	state   zygoteState
	asked   bool          // to go, or it has said that it goes
	settled chan struct{} // closed when it is ready, or will never be
	gone    chan struct{} // closed when it has ended and all it said has been read
	readyAt time.Time
	useful  bool                       // it has forked a worker
	forks   map[string]chan forkResult // by token; each has room for its result
	// children are those that run, by pid.
	children map[int]*child
}

type forkResult struct {
	child *child
	err   error
}

// live starts the process and sees it through to its end.
func (z *zygote) live() {
	if z.start(program{preload: true}) == nil {
		patience := drainTimeout
		select {
		case <-z.exited:
		case <-z.lost:
		}
		z.pool.mu.Lock()
		if z.asked {
			patience = z.pool.opt.KillGrace
		}
		z.leaveLocked()
		z.pool.mu.Unlock()
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
			z.logger().Log(context.Background(), levelOf(frame), strings.TrimSpace(string(frame.Payload)))
		case wire.Forked:
			err = z.forked(frame.Payload)
		case wire.Exited:
			err = z.childExited(frame.Payload)
		default:
			err = fmt.Errorf("a %s frame from a zygote", frame.Type)
		}
		release(frame.Buffer)
		if err != nil {
			return err
		}
	}
}

func (z *zygote) ready() error {
	p := z.pool
	p.mu.Lock()
	if z.wasReady {
		p.mu.Unlock()
		return errors.New("a second READY")
	}
	z.wasReady = true
	if z.state == zygoteStarting {
		z.state, z.readyAt = zygoteReady, time.Now()
		z.settleLocked()
	}
	output := z.output
	p.mu.Unlock()
	z.logger().Debug("the zygote is ready", "took", time.Since(z.since).Round(time.Millisecond))
	for _, line := range output.firstLines() {
		z.logger().Warn(line)
	}
	return nil
}

func (z *zygote) failed(message string) {
	p := z.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	z.failure, z.asked = strings.TrimSpace(message), true
	z.leaveLocked()
	z.settleLocked()
	p.tasks.Go(func() { z.dismiss(context.Background()) })
}

// settleLocked wakes who waits for it to be ready.
func (z *zygote) settleLocked() {
	select {
	case <-z.settled:
	default:
		close(z.settled)
	}
}

// leaveLocked takes it out of use.
func (z *zygote) leaveLocked() {
	if z.state < zygoteLeaving {
		z.state = zygoteLeaving
		z.pool.orphanLocked(z)
	}
}

// condemnLocked has it killed.
func (z *zygote) condemnLocked(why string) {
	if z.state < zygoteLeaving {
		z.failure, z.asked = why, true
		z.leaveLocked()
		z.pool.tasks.Go(z.kill)
	}
}

// retireLocked has it fork no more; it goes when no child is left.
func (z *zygote) retireLocked() {
	if z.state == zygoteReady {
		z.state = zygoteRetired
	}
	if z.state == zygoteRetired && len(z.children)+len(z.forks) == 0 {
		z.drainLocked()
		z.pool.tasks.Go(func() { z.dismiss(context.Background()) })
	}
}

// drainLocked puts DRAIN into the batch, which the caller sends.
func (z *zygote) drainLocked() {
	z.asked = true
	z.leaveLocked()
	z.batch = wire.AppendFrame(z.batch, wire.Drain, 0, 0, nil)
}

// dismiss sends what is in the batch and gives the process the kill grace to end,
// or until ctx is done. Then it is killed.
func (z *zygote) dismiss(ctx context.Context) {
	z.sendBatch()
	select {
	case <-z.exited:
		return
	case <-ctx.Done():
	case <-time.After(z.pool.opt.KillGrace):
	}
	z.kill()
}

// bury is the last thing done for a zygote.
func (z *zygote) bury() {
	p := z.pool
	words := ""
	if z.output != nil {
		words = z.output.lastWords()
	}
	p.mu.Lock()
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
	z.state = zygoteDead
	delete(p.nursery.all, z)
	delete(p.tokens, z.token)
	z.settleLocked()
	p.mu.Unlock()
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
