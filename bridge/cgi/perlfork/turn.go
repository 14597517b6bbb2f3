//go:build linux && (amd64 || arm64 || riscv64)

package perlfork

import (
	"io"
	"sync"
	"syscall"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/cgi/internal/job"
	"github.com/pagi-go/pagi-bridge/internal/proc"
)

// turn is the job of a worker that runs one request among others.
//
//	begun --Read finds the mark--> over --Close--> the worker is taken back
//	  |
//	  +--the worker's end is seen--> ended --Finish--> buried --Close--> its pipes are closed
type turn struct {
	*proc.Watcher // of the worker's end; Done is also closed when the turn is over
	worker        *worker
	out, errs     *job.Pipe
	mark          mark

	mu        sync.Mutex
	over      bool
	signalled bool
	buried    bool
	exit      proc.Exit // valid once over or buried
}

var _ job.Job = (*turn)(nil)

func (t *turn) Pid() int        { return t.worker.child.pid }
func (t *turn) Out() *job.Pipe  { return t.out }
func (t *turn) Errs() *job.Pipe { return t.errs }
func (t *turn) Said() []byte    { return t.worker.child.zygote.said }

// OnEnd has f called when the worker has ended before the turn was over.
func (t *turn) OnEnd(f func()) {
	t.Watcher.OnEnd(func() {
		t.mu.Lock()
		over := t.over
		t.mu.Unlock()
		if !over {
			f()
		}
	})
}

// Read reads the output of this request, up to the mark.
func (t *turn) Read(p []byte) (int, error) {
	if t.mark.seen {
		return 0, io.EOF
	}
	n, err := t.mark.read(t.out, p)
	if t.mark.seen {
		t.end(syscall.WaitStatus(t.mark.status << 8))
	}
	return n, err
}

// end is called when the mark was read. With that the process has ended for this request.
func (t *turn) end(status syscall.WaitStatus) {
	t.mu.Lock()
	t.over, t.exit.Status = true, status
	t.mu.Unlock()
	if !t.EndUnwatched() {
		t.worker.wake()
		<-t.Done()
	}
}

func (t *turn) Signal(sig syscall.Signal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.over && !t.buried {
		t.signalled = true
		proc.Group(t.Pid()).Signal(sig)
	}
}

func (t *turn) IsOver() bool { return t.mark.seen }

func (t *turn) IsFinished() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.over || t.buried
}

func (t *turn) Settle(patience time.Duration) (proc.Exit, bool) {
	if !t.IsOver() && !t.EndsWithin(patience) {
		return proc.Exit{}, false
	}
	return t.Finish(), true
}

func (t *turn) Finish() proc.Exit {
	if !t.IsFinished() {
		t.Watch()
		<-t.Done()
		t.mu.Lock()
		defer t.mu.Unlock()
		t.exit, t.buried = t.worker.bury(), true
	}
	return t.exit
}

func (t *turn) Close(deadlines bool) {
	if !t.IsOver() {
		t.out.Close()
		t.errs.Close()
		return
	}
	t.mu.Lock()
	signalled := t.signalled
	t.mu.Unlock()
	t.worker.takeBack(signalled, deadlines)
}
