//go:build unix

package proc

import (
	"errors"
	"sync"
	"syscall"
	"time"
)

// Process is a child of this process and the leader of a process group of its own.
//
//	running --its end is seen--> exited --Wait, Finish--> reaped
//
// The end is seen by the goroutine of Watch, or by a caller of EndsWithin, Wait or Finish; nobody else looks for it. On
// Linux an exited process is kept as a zombie. So its number, which is that of its group too, cannot become another
// process's before it is reaped.
type Process struct {
	*Watcher
	pid    int
	handle int // Linux: the pidfd, -1 where the kernel has none
	onReap func()

	mu     sync.Mutex
	reaped bool
	exit   Exit // valid once reaped
}

// Adopt returns the Process of a child that another process has forked for this one and that leads a group of its own.
// onReap, unless it is nil, is called when its number is free again. The error is ESRCH where there is no such process.
func Adopt(pid int, onReap func()) (*Process, error) {
	handle, err := openHandle(pid)
	if err != nil {
		return nil, err
	}
	p := newProcess(handle)
	p.pid, p.onReap = pid, onReap
	return p, nil
}

func newProcess(handle int) *Process {
	p := &Process{handle: handle}
	p.Watcher = NewWatcher((*exiting)(p))
	return p
}

// exiting is a Process as the Waiter of its Watcher.
type exiting Process

// Await implements Waiter.
func (e *exiting) Await() { (*Process)(e).await() }

// AwaitBriefly implements Waiter.
func (e *exiting) AwaitBriefly(d time.Duration) bool { return (*Process)(e).awaitBriefly(d) }

// Pid returns its number.
func (p *Process) Pid() int { return p.pid }

// Group returns its group.
func (p *Process) Group() Group { return Group(p.pid) }

// Signal sends sig to every process of the group. Once the process is reaped it does nothing.
func (p *Process) Signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		p.Group().Signal(sig)
	}
}

// IsReaped reports whether Wait or Finish has returned.
func (p *Process) IsReaped() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reaped
}

// Wait waits for the end and returns how the process ended. What is left of its group goes on.
func (p *Process) Wait() Exit { return p.conclude(false) }

// Finish waits for the end, kills what is left of the group, and returns how the process ended.
func (p *Process) Finish() Exit { return p.conclude(true) }

// conclude reaps the process. The group is killed before that, as long as its number is this process's.
func (p *Process) conclude(killGroup bool) Exit {
	p.Watch()
	<-p.done
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.reaped {
		if killGroup {
			p.Group().Signal(syscall.SIGKILL)
		}
		p.reap()
		p.reaped = true
		if p.onReap != nil {
			p.onReap()
		}
	}
	return p.exit
}

// End ends the process and its group: TERM now, and KILL after grace. It returns how the process ended.
func (p *Process) End(grace time.Duration) Exit {
	p.Signal(syscall.SIGTERM)
	if !p.EndsWithin(grace) {
		p.Signal(syscall.SIGKILL)
	}
	return p.Finish()
}

// wait4 reaps the process.
func (p *Process) wait4() {
	for {
		_, err := syscall.Wait4(p.pid, &p.exit.Status, 0, &p.exit.Usage)
		if !errors.Is(err, syscall.EINTR) {
			return // ECHILD: this process ignores SIGCHLD, so the status is lost
		}
	}
}
