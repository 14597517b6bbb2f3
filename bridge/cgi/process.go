//go:build unix

package cgi

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// process is a running script: the leader of a process group of its own.
//
// Its life: running, then exited (closed channel; on Linux the process is kept
// as a zombie, so that the group's number cannot pass to a stranger), then
// finished (reaped, nothing of the group left). finish must be called.
type process struct {
	pid     int
	exited  chan struct{}
	handle  int         // Linux: the pidfd, -1 where the kernel has none
	watched atomic.Bool // somebody waits, and closes exited
	onExit  func()

	said   []byte // what a script had written to standard error before it was forked
	onReap func() // nil: nobody else has to know
	loan   loan   // nil: the process ends with the request

	mu       sync.Mutex
	finished bool
	marked   bool               // a loan's run has ended, and the process has not
	attended bool               // the run had deadlines on its pipes
	status   syscall.WaitStatus // valid once finished
	usage    syscall.Rusage     // likewise: of the process and the children it waited for
}

// loan is a process that runs more than one request.
type loan interface {
	// await returns when the process has ended, or wake was called.
	await()
	wake()
	// awaitBriefly is await with a time limit, and reports whether the end has come.
	awaitBriefly(time.Duration) bool
	// giveBack reports whether the process lives. marked says that its run has ended as
	// it should, attended that there were deadlines on its pipes.
	giveBack(marked, attended bool) bool
}

// command is what is started: a program in a directory with exactly three
// descriptors. It does not see those of the gateway.
type command struct {
	argv                  []string // the program's absolute path first
	dir                   string
	env                   []string
	stdin, stdout, stderr int
	control               int // a zygote's, for its descriptor controlFD; 0: none
}

// files returns what the descriptors are from 0 on.
func (c *command) files() []uintptr {
	files := []uintptr{uintptr(c.stdin), uintptr(c.stdout), uintptr(c.stderr)}
	if c.control != 0 {
		for len(files) < controlFD {
			files = append(files, ^uintptr(0)) // closed
		}
		files = append(files, uintptr(c.control))
	}
	return files
}

// newCommand returns the command for a run of s, without its descriptors.
func newCommand(s script, env []string) command {
	c := command{argv: []string{s.file}, dir: filepath.Dir(s.file), env: env}
	if s.interpreter != "" {
		c.argv = []string{s.interpreter, s.file}
	}
	return c
}

// startProcess starts c. onExit is called when a watch has seen its end.
func (a *app) startProcess(c command, onExit func()) (*process, error) {
	p := &process{exited: make(chan struct{}), handle: -1, onExit: onExit}
	attr := &syscall.ProcAttr{
		Dir:   c.dir,
		Env:   c.env,
		Files: c.files(),
		Sys:   p.attributes(),
	}
	attr.Sys.Credential = a.credential
	var err error
	switch {
	case a.launcher != nil:
		p.pid, err = a.forkExecLaunched(c, attr)
	case a.hasResources() && c.control != 0:
		p.pid, err = forkExecStopped(c, attr, a.limitZygote)
	case a.hasResources():
		p.pid, err = forkExecStopped(c, attr, a.limitResources)
	default:
		p.pid, err = syscall.ForkExec(c.argv[0], c.argv, attr)
	}
	if err == nil {
		return p, nil
	}
	if p.pid != 0 { // it runs, but not as it should
		p.signal(syscall.SIGKILL)
		p.watch()
		p.finish()
	}
	return nil, err
}

// watch makes a goroutine wait for the end, unless somebody does already. It ends
// with the process.
func (p *process) watch() {
	if p.watched.CompareAndSwap(false, true) {
		go p.keepWatch()
	}
}

func (p *process) keepWatch() {
	if p.loan != nil {
		p.loan.await()
	} else {
		p.await()
	}
	p.mu.Lock()
	marked := p.marked
	p.mu.Unlock()
	close(p.exited)
	if !marked {
		p.onExit()
	}
}

// exitsWithin waits for the end, but not much longer than d, and reports whether
// it came. A process nobody watches yet costs no goroutine when it ends in time.
func (p *process) exitsWithin(d time.Duration) bool {
	if isClosed(p.exited) {
		return true
	}
	if p.watched.CompareAndSwap(false, true) {
		if p.endsWithin(d) {
			close(p.exited)
			return true
		}
		go p.keepWatch()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-p.exited:
		return true
	case <-timer.C:
		return false
	}
}

func (p *process) endsWithin(d time.Duration) bool {
	if p.loan != nil {
		return p.loan.awaitBriefly(d)
	}
	return p.awaitBriefly(d)
}

// setAttended says whether there were deadlines on the pipes of a loan.
func (p *process) setAttended(were bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.attended = were
}

// endRun is called when a loan's run has ended: with that the process has for this
// request.
func (p *process) endRun(status syscall.WaitStatus) {
	p.mu.Lock()
	p.marked, p.status = true, status
	p.mu.Unlock()
	if p.watched.CompareAndSwap(false, true) {
		close(p.exited)
		return
	}
	p.loan.wake()
	<-p.exited
}

// signal sends sig to every process of the group that is still there.
func (p *process) signal(sig syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.finished && !p.marked {
		p.signalLocked(sig)
	}
}

func (p *process) signalLocked(sig syscall.Signal) {
	// ESRCH says that the group is empty, EPERM (on some systems) that only the
	// zombie is left: in both cases the work is done.
	_ = syscall.Kill(-p.pid, sig)
}

// isFinished reports whether finish has done its work.
func (p *process) isFinished() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.finished
}

// finish waits for the script's end, kills what is left of its group, reaps it
// and returns how it ended.
func (p *process) finish() syscall.WaitStatus {
	<-p.exited
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.finished {
		if p.loan == nil || !p.loan.giveBack(p.marked, p.attended) {
			p.signalLocked(syscall.SIGKILL)
			p.reap()
			if p.onReap != nil {
				p.onReap()
			}
		}
		p.finished = true
	}
	return p.status
}

// wait4 reaps the process.
func (p *process) wait4() {
	for {
		_, err := syscall.Wait4(p.pid, &p.status, 0, &p.usage)
		if !errors.Is(err, syscall.EINTR) {
			return // ECHILD: this process ignores SIGCHLD, the status is lost
		}
	}
}

// describe says how a process ended: "exit status 2", "signal: killed".
func describe(s syscall.WaitStatus) string {
	switch {
	case s.Signaled() && s.CoreDump():
		return "signal: " + s.Signal().String() + " (core dumped)"
	case s.Signaled():
		return "signal: " + s.Signal().String()
	}
	return "exit status " + strconv.Itoa(s.ExitStatus())
}

// devNull is opened once; scripts get duplicates of it.
var devNull = sync.OnceValues(func() (*os.File, error) { return os.Open(os.DevNull) })

// closeInherited marks every descriptor above 2 close-on-exec. Go does so with
// all it opens itself; this is about what the process was started with.
func closeInherited() {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil { // no /dev here: inherited descriptors are low numbers
		for fd := 3; fd < 1024; fd++ {
			syscall.CloseOnExec(fd)
		}
		return
	}
	for _, entry := range entries {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
}

// pipe is a pipe with one end for a script, which blocks, and one for us, which
// does not.
type pipe struct {
	script int // close with closeScript
	ours   *os.File
}

// After manyBytes a pipe is enlarged to largePipe bytes.
const (
	manyBytes = 256 << 10
	largePipe = 512 << 10
)

// newPipe makes one. Which end is the script's is said by scriptReads.
func newPipe(scriptReads bool) (*pipe, error) {
	r, w, err := rawPipe()
	if err != nil {
		return nil, os.NewSyscallError("pipe", err)
	}
	script, ours := w, r
	if scriptReads {
		script, ours = r, w
	}
	if err := syscall.SetNonblock(ours, true); err != nil {
		return nil, errors.Join(os.NewSyscallError("fcntl", err), syscall.Close(r), syscall.Close(w))
	}
	return &pipe{script, os.NewFile(uintptr(ours), "script")}, nil
}

// closeScript closes the script's end, which lives on in the script.
func (p *pipe) closeScript() {
	if p.script >= 0 {
		_ = syscall.Close(p.script) // Linux frees the descriptor whatever it returns
		p.script = -1
	}
}

// close closes both ends.
func (p *pipe) close() {
	if p != nil {
		p.closeScript()
		_ = p.ours.Close() // may be closed already
	}
}
