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

// A script that is just being written cannot be started. It is tried again that often,
// with that much time between.
const (
	busyTries = 10
	busyWait  = 10 * time.Millisecond
)

// run is one run of a script: the process, its three pipes and the timers. It is
// an io.Reader of the script's output.
//
// Up to three goroutines belong to it besides the caller's: one writes the request
// body; for a script that runs longer than attendAfter, one waits for the process
// and one reads standard error. finish ends them all.
type run struct {
	app    *app
	script script
	log    *slog.Logger
	proc   *process
	body   *requestBody
	in     *pipe // nil: /dev/null, or the file the body is in
	out    *pipe
	errs   *pipe
	mark   *mark // of a process that stays, which has out and errs, too

	stderr     stderrLog
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

// start starts s. When it returns without an error, finish must be called.
func (a *app) start(ctx context.Context, scope *pagi.Scope, s script, body *requestBody) (*run, error) {
	r := &run{
		app: a, script: s, body: body, ctx: ctx,
		fed: make(chan struct{}), errsDone: make(chan struct{}), killed: make(chan struct{}),
	}
	stdin, pending, err := r.openInput(body)
	if err != nil {
		r.closePipes()
		return nil, startFailure(s, err)
	}
	c := newCommand(s, a.environ(scope, s, body.length))
	c.stdin = stdin
	if r.proc, err = r.launch(c); err != nil {
		r.closePipes()
		return nil, startFailure(s, err)
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
	r.stderr = stderrLog{ctx: context.WithoutCancel(ctx), log: r.log, rate: a.StderrRate, marks: a.watchedMarks()}
	r.stderr.write(r.proc.said)
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

// launch gives the run its process: one that has compiled the script, or a new one.
func (r *run) launch(c command) (*process, error) {
	if p := r.app.fast.process(r, c); p != nil {
		return p, nil
	}
	if err := r.openOutputs(); err != nil {
		return nil, err
	}
	c.stdout, c.stderr = r.out.script, r.errs.script
	p, err := r.app.startProcess(c, r.scriptExited)
	for tries := 0; errors.Is(err, syscall.ETXTBSY) && tries < busyTries && r.ctx.Err() == nil; tries++ {
		time.Sleep(busyWait)
		p, err = r.app.startProcess(c, r.scriptExited)
	}
	return p, err
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
	r.proc.watch()
	if !r.answered {
		r.detach = context.AfterFunc(r.ctx, func() { r.end(context.Cause(r.ctx)) })
	}
	go func() {
		defer close(r.errsDone)
		r.stderr.copy(r.errs.ours)
	}()
}

// openInput makes the script's input. A body that is complete is the file it is in, or is
// written at once as far as it fits into a pipe; pending is what did not fit.
func (r *run) openInput(body *requestBody) (stdin int, pending []byte, err error) {
	if body.file != nil && !body.more {
		return int(body.file.Fd()), nil, nil
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

// openOutputs makes the pipes of a process of one run, if there are none yet.
func (r *run) openOutputs() (err error) {
	if r.out == nil {
		r.out, err = newPipe(false)
	}
	if err == nil && r.errs == nil {
		r.errs, err = newPipe(false)
	}
	return err
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
	if r.isMarked() {
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
	case <-r.proc.exited:
		r.setOutDeadline(time.Now().Add(r.app.KillAfter))
	default:
	}
	r.mu.Unlock()
	n, err := r.readOutput(p)
	if n > 0 {
		r.watch.progress()
	}
	if r.size < manyBytes && r.size+int64(n) >= manyBytes {
		r.out.enlarge()
	}
	if r.size += int64(n); r.app.OutputSize > 0 && r.size > r.app.OutputSize {
		err := &limitError{"it wrote too much", "output_size", r.app.OutputSize, http.StatusBadGateway}
		r.end(err)
		return 0, err
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = io.EOF
	}
	return n, err
}

// readOutput reads what there is, to the end of the pipe or to the mark of a process
// that stays.
func (r *run) readOutput(p []byte) (int, error) {
	switch {
	case r.mark == nil:
		return r.out.ours.Read(p)
	case r.mark.seen:
		return 0, io.EOF
	}
	n, err := r.mark.read(r.out.ours, p)
	if r.mark.seen {
		r.proc.endRun(syscall.WaitStatus(r.mark.status << 8))
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
	if r.over || isClosed(r.killed) {
		return
	}
	r.proc.signal(syscall.SIGKILL)
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

// isMarked reports whether the run has ended and its process stays. It is for the reader.
func (r *run) isMarked() bool { return r.mark != nil && r.mark.seen }

// hasEnded reports whether nothing of the run goes on. It is for the reader.
func (r *run) hasEnded() bool { return r.isMarked() || r.proc.isFinished() }

// settle waits a moment for the script's end and returns how it ended.
func (r *run) settle() (status syscall.WaitStatus, ended bool) {
	if r.isMarked() {
		return syscall.WaitStatus(r.mark.status << 8), true
	}
	if !r.proc.exitsWithin(settleTime) {
		return 0, false
	}
	return r.proc.finish(), true
}

// finish reads to the end of the output, waits for the script, kills what is left
// of its group and releases everything. A script that is not being ended may
// still work on as long as its time limits allow. It returns how the script ended
// and the cause where it was made to.
func (r *run) finish(buf []byte) (syscall.WaitStatus, error) {
	if !r.hasEnded() {
		r.attend()
		r.outlast(buf)
	}
	r.attendant.Stop()
	r.watch.stop()
	if r.maxTimer != nil {
		r.maxTimer.Stop()
	}
	stays := r.isMarked()
	var status syscall.WaitStatus
	if !stays { // first of all: whoever is left in its group ends, and lets go of the pipes
		status = r.proc.finish()
	}
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
	r.in.close()
	<-r.fed
	r.body.close()
	if attended {
		patience := lastWords
		if stays { // it has said all
			patience = 0
		}
		_ = r.errs.ours.SetReadDeadline(time.Now().Add(patience)) // a pipe has deadlines
		<-r.errsDone
	} else {
		r.stderr.drain(r.errs.ours, buf)
		r.stderr.end()
	}
	if stays {
		r.proc.setAttended(attended || cause != nil)
		return r.proc.finish(), cause
	}
	r.closePipes()
	return status, cause
}

// outlast waits for the end of the output and of the script and, where the group
// is being ended, for what else is in it: that has until KILL to tidy up.
func (r *run) outlast(buf []byte) {
	for {
		if _, err := r.Read(buf); err != nil {
			break
		}
	}
	<-r.proc.exited
	if r.endCause() != nil {
		select {
		case <-r.errsDone:
		case <-r.killed:
		}
	}
}
