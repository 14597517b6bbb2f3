//go:build unix

package cgi

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/cgi/internal/job"
	"github.com/pagi-go/pagi-bridge/internal/hung"
	"github.com/pagi-go/pagi-bridge/internal/proc"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// settleTime is how long the end of a response may be held back to learn how the
// script ended, so that one that crashed is not taken for one that was done.
const settleTime = 100 * time.Millisecond

// attendAfter is how long a script may run before goroutines look after its
// standard error, its end and its client. Most scripts are done by then, and what they wrote
// to standard error is still in the pipe; one that fills the pipe waits so long.
const attendAfter = 20 * time.Millisecond

// lastWords is how long we read on in standard error after the group was killed;
// only a process that left the group can make us wait for it.
const lastWords = 100 * time.Millisecond

// manyBytes is how much has to pass through a pipe of a script before it gets more room.
const manyBytes = 256 << 10

// run is one run of a script: the job, the pipe of its input, and the timers. It is
// an io.Reader of the script's output.
//
// Up to three goroutines belong to it besides the caller's: one writes the request
// body; for a script that runs longer than attendAfter, one waits for the process
// and one reads standard error. finish ends them all.
type run struct {
	app      *app
	script   script
	request  asked // shown until it is answered
	compiled bool  // the job is that of a process that has compiled the script
	job      job.Job
	body     *requestBody
	in       *job.Pipe // nil: /dev/null, or the file the body is in

	stderr     stderrLog
	inbox      hung.Inbox // takes the Perl stack out of standard error
	watch      *watchdog
	attendant  *time.Timer
	maxTimer   *time.Timer
	ctx        context.Context
	detach     func() bool // stops listening to ctx; guarded by mu, nil before attend
	cancelFeed context.CancelFunc
	fed        chan struct{} // closed when nobody feeds any more
	errsDone   chan struct{} // closed when standard error is read, where attended

	size int64 // bytes of output so far; the reader's own

	receiving sync.Mutex // held while the feeder takes a piece from the client
	released  bool       // no more of that; guarded by receiving

	mu        sync.Mutex
	cause     error // why the group is being ended
	answered  bool  // the response ends, the client may go
	killed    chan struct{}
	killTimer *time.Timer
	attended  bool
	lingering bool // the reader waits for more before it sends anything
	over      bool // finish has begun to clean up: no signals, no deadlines
}

// logger names the script and its process. Few runs log anything, so each record makes its own.
func (r *run) logger() *slog.Logger {
	return r.app.logger().With(slog.String("script", r.script.file), slog.Int("pid", r.job.Pid()))
}

// start starts s. When it returns without an error, finish must be called.
func (a *app) start(ctx context.Context, scope *pagi.Scope, s script, body *requestBody) (*run, error) {
	r := &run{
		app: a, script: s, request: requestOf(scope), body: body, ctx: ctx,
		fed: make(chan struct{}), errsDone: make(chan struct{}), killed: make(chan struct{}),
	}
	stdin, pending, err := r.openInput(body)
	if err == nil {
		r.job, r.compiled, err = a.launch(ctx, s, a.environ(scope, s, body.length), stdin)
	}
	if err != nil {
		r.in.Close()
		return nil, startFailure(s, err)
	}
	a.mount.counters.began(r.compiled, a.perl.IsPersistent(s.file))
	r.job.OnEnd(r.scriptExited)
	if r.in != nil {
		r.in.CloseTheirs()
	}

	r.watch = newWatchdog(a.RequestTimeout, func() {
		r.endHung(&timeoutError{"it kept us waiting", "request_timeout", a.RequestTimeout})
	})
	if a.MaxRequestTime > 0 {
		r.maxTimer = time.AfterFunc(a.MaxRequestTime, func() {
			r.endHung(&timeoutError{"it ran", "max_request_time", a.MaxRequestTime})
		})
	}
	r.stderr = stderrLog{ctx: context.WithoutCancel(ctx), log: r.logger, rate: a.StderrRate, marks: a.watchedMarks(), inbox: &r.inbox}
	r.stderr.write(r.job.Said())
	r.attendant = time.AfterFunc(attendAfter, r.attend)
	if pending == nil && !body.more {
		r.cancelFeed = func() {}
		close(r.fed)
	} else {
		feedCtx, cancel := context.WithCancel(ctx)
		r.cancelFeed = cancel
		go func() {
			defer close(r.fed)
			r.feed(feedCtx, body, pending)
		}()
	}
	return r, nil
}

// attend starts the goroutines that look after a script that takes longer.
func (r *run) attend() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.attended || r.over {
		return
	}
	r.attended = true
	r.stopLingering()
	r.job.Watch()
	if !r.answered {
		r.detach = context.AfterFunc(r.ctx, func() { r.end(context.Cause(r.ctx)) })
	}
	go func() {
		defer close(r.errsDone)
		r.stderr.copy(r.job.Errs())
	}()
}

// openInput makes the script's input. A body that is complete is the file it is in, or is
// written at once as far as it fits into a pipe; pending is what did not fit.
func (r *run) openInput(body *requestBody) (stdin int, pending []byte, err error) {
	if body.file != nil && !body.more {
		return int(body.file.Fd()), nil, nil
	}
	if len(body.first) == 0 && !body.more {
		null, err := job.DevNull()
		if err != nil {
			return -1, nil, err
		}
		return int(null.Fd()), nil, nil
	}
	if r.in, err = job.NewPipe(true); err != nil {
		return -1, nil, err
	}
	pending = body.first
	if !body.more {
		if pending, err = fill(r.in.Ours(), pending); err != nil {
			return -1, nil, err
		}
	}
	if pending == nil && !body.more {
		if err := r.in.Ours().Close(); err != nil {
			return -1, nil, err
		}
	}
	return r.in.Theirs(), pending, nil
}

// Read reads the script's output. It ends when the last holder of the pipe has
// closed it, when the group was killed, or when the script is gone and what it
// left behind has been silent for KillAfter.
func (r *run) Read(p []byte) (int, error) {
	if r.job.IsOver() {
		return 0, io.EOF
	}
	r.mu.Lock()
	select {
	case <-r.killed:
		r.mu.Unlock()
		return 0, io.EOF
	default:
	}
	select {
	case <-r.job.Done():
		r.setOutDeadline(time.Now().Add(r.app.KillAfter))
	default:
	}
	r.mu.Unlock()
	n, err := r.take(p)
	if n > 0 {
		r.watch.progress()
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = io.EOF
	}
	return n, err
}

// take reads output and counts it. A script that writes more than OutputSize is ended, and
// what goes beyond the limit is not returned.
func (r *run) take(p []byte) (int, error) {
	n, err := r.job.Read(p)
	if r.size < manyBytes && r.size+int64(n) >= manyBytes {
		r.job.Out().Enlarge()
	}
	r.size += int64(n)
	if limit := r.app.OutputSize; limit > 0 && r.size > limit {
		err := &limitError{"it wrote too much", "output_size", limit, http.StatusBadGateway}
		r.end(err)
		return 0, err
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
		r.job.Out().Limit(t)
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
	r.terminate()
}

// terminate is called with mu held.
func (r *run) terminate() {
	r.job.Signal(syscall.SIGTERM)
	r.killTimer = time.AfterFunc(r.app.KillAfter, r.kill)
}

func (r *run) kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over || isClosed(r.killed) {
		return
	}
	r.job.Signal(syscall.SIGKILL)
	r.setOutDeadline(time.Unix(1, 0))
	close(r.killed)
}

// markAnswered lets the client go: what the script still does is its own affair.
func (r *run) markAnswered() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answered = true
	if r.detach != nil {
		r.detach()
	}
}

// letGo ends the use of what belongs to the request, whose Serve is about to
// return. A script that has not got all of its input yet waits for the rest in
// vain, as for that of any request that is answered.
func (r *run) letGo() {
	r.cancelFeed()
	r.receiving.Lock()
	r.released = true
	r.receiving.Unlock()
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
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
func (r *run) settle() (exit proc.Exit, ended bool) { return r.job.Settle(settleTime) }

// finish reads to the end of the output, waits for the script, kills what is left
// of its group and releases everything. A script that is not being ended may
// still work on as long as its time limits allow. It returns how the script ended
// and the cause where it was made to.
func (r *run) finish(buf []byte) (proc.Exit, error) {
	if !r.job.IsFinished() {
		r.attend()
		r.outlast(buf)
	}
	r.attendant.Stop()
	r.watch.stop()
	if r.maxTimer != nil {
		r.maxTimer.Stop()
	}
	exit := r.job.Finish() // first of all: what is left of the script ends, and lets go of the pipes
	r.mu.Lock()
	r.over = true
	attended, cause := r.attended, r.cause
	if r.killTimer != nil {
		r.killTimer.Stop()
	}
	if r.detach != nil {
		r.detach()
	}
	r.mu.Unlock()

	r.cancelFeed()
	r.in.Close()
	<-r.fed
	r.body.close()
	if attended {
		patience := lastWords
		if r.job.IsOver() { // the script has said all
			patience = 0
		}
		r.job.Errs().Limit(time.Now().Add(patience))
		<-r.errsDone
	} else {
		r.stderr.drain(r.job.Errs(), buf)
		r.stderr.end()
	}
	r.job.Close(attended || cause != nil)
	return exit, cause
}

// outlast waits for the end of the output and of the script and, where the group
// is being ended, for what else is in it: that has until KILL to tidy up.
func (r *run) outlast(buf []byte) {
	for {
		if _, err := r.Read(buf); err != nil {
			break
		}
	}
	<-r.job.Done()
	if r.endCause() != nil {
		select {
		case <-r.errsDone:
		case <-r.killed:
		}
	}
}
