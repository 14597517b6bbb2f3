//go:build unix

package cgi

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// settleTime is how long the end of a response may be held back to learn how the
// script ended, so that one that crashed is not taken for one that was done.
const settleTime = 100 * time.Millisecond

// lastWords is how long we read on in standard error after the group was killed;
// only a process that left the group can make us wait for it.
const lastWords = 100 * time.Millisecond

// run is one run of a script: the process, its three pipes and the timers. It is
// an io.Reader of the script's output.
//
// Three goroutines belong to it besides the caller's: one waits for the process,
// one writes the request body, one reads standard error. finish ends them all.
type run struct {
	app    *app
	script script
	log    *slog.Logger
	proc   *process
	in     *pipe // nil: /dev/null, or all was written before the start
	out    *pipe
	errs   *pipe

	watch      *watchdog
	maxTimer   *time.Timer
	detach     func() bool // stops listening to the client's context
	cancelFeed context.CancelFunc
	fed        chan struct{} // closed when nobody feeds any more
	errsDone   chan struct{}

	mu        sync.Mutex
	cause     error // why the group is being ended
	answered  bool  // the response ends, the client may go
	killed    chan struct{}
	killTimer *time.Timer
	over      bool // finish has begun to clean up: no signals, no deadlines
}

// start starts s. When it returns without an error, finish must be called.
func (a *app) start(ctx context.Context, scope *pagi.Scope, s script, body *requestBody) (*run, error) {
	r := &run{
		app: a, script: s,
		fed: make(chan struct{}), errsDone: make(chan struct{}), killed: make(chan struct{}),
	}
	stdin, pending, err := r.openPipes(body)
	if err != nil {
		r.closePipes()
		return nil, startFailure(s.file, err)
	}
	env := a.environ(scope, s, body.length)
	r.proc, err = startProcess(s.file, env, stdin, r.out.script, r.errs.script, r.scriptExited)
	if err != nil {
		r.closePipes()
		return nil, startFailure(s.file, err)
	}
	r.out.closeScript()
	r.errs.closeScript()
	if r.in != nil {
		r.in.closeScript()
	}
	r.log = a.logger().With(slog.String("script", s.file), slog.Int("pid", r.proc.pid))

	r.watch = newWatchdog(a.Timeout, func() {
		r.end(&timeoutError{"it kept us waiting", "timeout", a.Timeout})
	})
	if a.MaxTime > 0 {
		r.maxTimer = time.AfterFunc(a.MaxTime, func() {
			r.end(&timeoutError{"it ran", "max_time", a.MaxTime})
		})
	}
	r.detach = context.AfterFunc(ctx, func() { r.end(context.Cause(ctx)) })
	go func() {
		defer close(r.errsDone)
		errs := stderrLog{ctx: context.WithoutCancel(ctx), log: r.log, rate: a.StderrRate}
		errs.copy(r.errs.ours)
	}()
	feedCtx, cancel := context.WithCancel(ctx)
	r.cancelFeed = cancel
	if pending == nil && !body.more {
		close(r.fed)
	} else {
		go func() {
			defer close(r.fed)
			r.feed(feedCtx, body, pending)
		}()
	}
	return r, nil
}

// openPipes makes the script's descriptors. A body that is complete and fits into
// the pipe is written at once; pending is what did not fit.
func (r *run) openPipes(body *requestBody) (stdin int, pending []byte, err error) {
	if r.out, err = newPipe(false); err != nil {
		return -1, nil, err
	}
	if r.errs, err = newPipe(false); err != nil {
		return -1, nil, err
	}
	if len(body.first) == 0 && !body.more {
		null, err := devNull()
		if err != nil {
			return -1, nil, err
		}
		return int(null.Fd()), nil, nil
	}
	if r.in, err = newPipe(true); err != nil {
		return -1, nil, err
	}
	pending = body.first
	if !body.more {
		if pending, err = r.in.fill(pending); err != nil {
			return -1, nil, err
		}
	}
	if pending == nil && !body.more {
		if err := r.in.ours.Close(); err != nil {
			return -1, nil, err
		}
	}
	return r.in.script, pending, nil
}

func (r *run) closePipes() {
	r.in.close()
	r.out.close()
	r.errs.close()
}

// Read reads the script's output. It ends when the last holder of the pipe has
// closed it, when the group was killed, or when the script is gone and what it
// left behind has been silent for KillAfter.
func (r *run) Read(p []byte) (int, error) {
	r.mu.Lock()
	select {
	case <-r.killed:
		r.mu.Unlock()
		return 0, io.EOF
	default:
	}
	select {
	case <-r.proc.exited:
		r.setOutDeadline(time.Now().Add(r.app.KillAfter))
	default:
	}
	r.mu.Unlock()
	n, err := r.out.ours.Read(p)
	if n > 0 {
		r.watch.progress()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = io.EOF
	}
	return n, err
}

// scriptExited lets a Read that is waiting end some time after the script.
func (r *run) scriptExited() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.killed:
	default:
		r.setOutDeadline(time.Now().Add(r.app.KillAfter))
	}
}

// setOutDeadline is called with mu held.
func (r *run) setOutDeadline(t time.Time) {
	if !r.over {
		_ = r.out.ours.SetReadDeadline(t) // a pipe has deadlines
	}
}

// end ends the script and its group: TERM now, KILL after KillAfter. The first
// cause counts.
func (r *run) end(cause error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over || r.cause != nil {
		return
	}
	r.cause = cause
	r.proc.signal(syscall.SIGTERM)
	r.killTimer = time.AfterFunc(r.app.KillAfter, r.kill)
}

func (r *run) kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	r.proc.signal(syscall.SIGKILL)
	r.setOutDeadline(time.Unix(1, 0))
	close(r.killed)
}

// markAnswered lets the client go: what the script still does is its own affair.
func (r *run) markAnswered() {
	r.mu.Lock()
	r.answered = true
	r.mu.Unlock()
	r.detach()
}

func (r *run) isAnswered() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.answered
}

// endCause returns why the script is being ended, nil while it is not.
func (r *run) endCause() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cause
}

// settle waits a moment for the script's end and returns how it ended.
func (r *run) settle() (status syscall.WaitStatus, ended bool) {
	select {
	case <-r.proc.exited:
		return r.proc.finish(), true
	default:
	}
	timer := time.NewTimer(settleTime)
	defer timer.Stop()
	select {
	case <-r.proc.exited:
		return r.proc.finish(), true
	case <-timer.C:
		return 0, false
	}
}

// finish reads to the end of the output, waits for the script, kills what is left
// of its group and releases everything. A script that is not being ended may
// still work on as long as its time limits allow. It returns how the script ended
// and the cause where it was made to.
func (r *run) finish(buf []byte) (syscall.WaitStatus, error) {
	for {
		if _, err := r.Read(buf); err != nil {
			break
		}
	}
	<-r.proc.exited
	cause := r.endCause()
	if cause != nil && !r.proc.isFinished() { // the rest of the group has until KILL to tidy up
		select {
		case <-r.errsDone:
		case <-r.killed:
		}
	}
	r.detach()
	r.watch.stop()
	if r.maxTimer != nil {
		r.maxTimer.Stop()
	}
	status := r.proc.finish()
	r.mu.Lock()
	r.over = true
	if r.killTimer != nil {
		r.killTimer.Stop()
	}
	r.mu.Unlock()

	r.cancelFeed()
	r.in.close()
	<-r.fed
	_ = r.errs.ours.SetReadDeadline(time.Now().Add(lastWords)) // a pipe has deadlines
	<-r.errsDone
	r.closePipes()
	return status, cause
}
