package worker

import (
	"errors"
	"fmt"
	"math"
	"syscall"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/internal/proc"
)

const (
	// tellTime is how long a zygote may take to report that a child has ended.
	tellTime = 2 * time.Second
	// lookAgain is how often wait checks whether the zygote has reported the end of a child that
	// still seems to run.
	lookAgain = 10 * time.Second
)

// spawn has the zygote fork a worker.
func (z *zygote) spawn(x *peer) (spawned, error) {
	output, err := x.openFIFO()
	if err != nil {
		return spawned{}, err
	}
	c, err := z.fork(x, output.path)
	if err != nil {
		output.started(err)
		return spawned{}, err
	}
	return spawned{pid: c.pid, forked: true, output: output, wait: c.wait}, nil
}

// fork asks the zygote for a child and waits until the child runs. A zygote that takes too long is
// killed. When the group stops meanwhile, a zygote that does not answer at once is killed, too.
func (z *zygote) fork(x *peer, output string) (*child, error) {
	g := z.group
	result := make(chan forkResult, 1)
	g.mu.Lock()
	if z.state != zygoteReady {
		g.mu.Unlock()
		return nil, errZygoteGone
	}
	z.forks[x.token] = result
	z.out.Queue(0, wire.AppendFork(nil, wire.ForkPayload{Token: x.token, Worker: x.id, Output: output, Listen: x.address}), nil)
	g.mu.Unlock()
	z.flush()

	timer := time.NewTimer(g.opt.StartTimeout)
	defer timer.Stop()
	for halt := g.halt; ; {
		select {
		case r := <-result:
			return r.child, r.err
		case <-halt:
			halt = nil
			timer.Reset(drainTimeout)
			continue
		case <-timer.C:
		case <-z.gone:
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		select {
		case r := <-result: // the child came at the same moment
			return r.child, r.err
		default:
		}
		delete(z.forks, x.token)
		z.condemnLocked("it was asked for a worker and has not forked it in time")
		return nil, fmt.Errorf("%w before it has forked the worker", errZygoteGone)
	}
}

// forked handles FORKED.
func (z *zygote) forked(payload []byte) error {
	f, err := wire.DecodeForked(payload)
	if err != nil {
		return err
	}
	g := z.group
	g.mu.Lock()
	defer g.mu.Unlock()
	result := z.forks[f.Token]
	delete(z.forks, f.Token)
	late := result == nil && z.state >= zygoteLeaving // the zygote has been given up
	pid := int(f.PID)
	switch {
	case result == nil && !late:
		return errors.New("FORKED for a worker that nobody has asked for")
	case f.PID == 0:
		if !late {
			result <- forkResult{err: fmt.Errorf("the zygote cannot fork: %s", f.Error)}
		}
		return nil
	case f.PID == 1 || f.PID > math.MaxInt32 || g.hasLocked(pid) || !proc.LeadsGroup(pid):
		return fmt.Errorf("it says that it has forked process %d, which is no such process", f.PID)
	case late:
		proc.Group(pid).Signal(syscall.SIGKILL)
		return nil
	}
	c := &child{zygote: z, pid: pid, told: make(chan struct{}), handle: proc.Open(pid)}
	z.children[pid], z.useful = c, true
	result <- forkResult{child: c}
	return nil
}

// hasLocked reports whether one of the group's processes has this pid.
func (g *Group) hasLocked(pid int) bool {
	for w := range g.workers {
		if !w.hasExited() && w.made.pid == pid {
			return true
		}
	}
	for z := range g.nursery.all {
		if z.made.pid == pid || z.children[pid] != nil {
			return true
		}
	}
	return false
}

// childExited handles EXITED.
func (z *zygote) childExited(payload []byte) error {
	pid, status, err := wire.DecodeExited(payload)
	if err != nil {
		return err
	}
	g := z.group
	g.mu.Lock()
	defer g.mu.Unlock()
	c := z.children[int(pid)]
	if c == nil {
		return fmt.Errorf("EXITED for process %d, which is none of its children", pid)
	}
	delete(z.children, c.pid)
	c.words = proc.Describe(syscall.WaitStatus(status))
	close(c.told)
	if z.state == zygoteRetired {
		z.retireLocked()
	}
	return nil
}

// child is a process that a zygote has forked.
type child struct {
	zygote *zygote
	pid    int
	told   chan struct{} // closed when the zygote has said how it ended
	words  string        // how it ended; valid after told
	handle *proc.Handle
}

// wait returns how the process has ended, when it has. The gateway notices the end by itself, even
// without the zygote. How the process ended is known only to the zygote, or to the process that
// inherits the zygote's children.
func (c *child) wait() string {
	defer c.handle.Close()
	for {
		select {
		case <-c.told:
			return c.words
		default:
		}
		if c.handle.EndsWithin(lookAgain) {
			break
		}
	}
	late := time.After(tellTime)
	for gone := c.zygote.gone; ; {
		select {
		case <-c.told:
			return c.words
		case <-gone:
			gone = nil
			if words, ok := c.inherited(); ok {
				return words
			}
			return "how is not known, its zygote having died before it"
		case <-late:
			return "how is not known, its zygote having kept silent"
		}
	}
}

// inherited reaps the process if it has become a child of this process.
func (c *child) inherited() (string, bool) {
	select {
	case <-c.told: // the last thing it said
		return c.words, true
	default:
		status, ok := proc.Reap(c.pid)
		return proc.Describe(status), ok
	}
}
