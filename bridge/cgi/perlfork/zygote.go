//go:build linux && (amd64 || arm64 || riscv64)

package perlfork

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/proc"
)

const (
	// lingering is how long a zygote that was told to end may take.
	lingering = time.Second
	// usualForkTime is how long a zygote may take to fork. A zygote that takes longer is stopped or stuck, and is killed.
	usualForkTime = 10 * time.Second
)

// zygote is a process that has compiled a script and forks a process for each request. It leads a process group. What it
// forks begins in that group and stays there until the gateway knows it: see adopt. The gateway is the parent of all these
// processes and waits for them as for those that it has started.
//
//	starting --settled--> serving --retire--> retired --its end, or a second--> gone
//	   |                     |                   ^
//	   +-- cannot be used ---+-- has ended, or --+
//	                             sent nonsense
//
// The goroutine of live sees a zygote from serving to gone. startZygote starts it wherever there is a process.
type zygote struct {
	compilation
	owner   *Scripts
	file    string
	proc    *proc.Process
	control *os.File
	// persistent says that its children run the script many times.
	persistent    bool
	program, data string // where persistent: the file of the main program, and where in the script DATA begins

	supply *supply
	gone   chan struct{} // closed when it forks no more

	mu       sync.Mutex
	retired  bool
	looked   time.Time // when all files were looked at last
	stale    bool      // one of them has changed
	mismatch bool      // it has been logged that a request differs in a variable of reads
}

// compilation is what a script was compiled with, and what it has looked at meanwhile. It does not change once the zygote
// serves.
type compilation struct {
	since    time.Time       // when it began
	environ  []string        // the environment
	base     map[string]bool // the variables in environ, "NAME=VALUE"
	known    map[string]bool // names of variables that a child has, unless it is told otherwise
	restore  []byte          // pairs that tell the zygote what the gateway has changed in its environment
	reads    []string        // variables that it has looked at
	seen     *watched        // the files that it has looked at
	calendar bool            // it has asked for the year
	said     []byte          // what it has written to standard error
	shown    []byte          // the command line of a process that runs the script
}

// newCompilation returns one with this environment that begins now.
func newCompilation(environ []string) compilation {
	c := compilation{since: time.Now(), environ: environ, base: map[string]bool{}, known: map[string]bool{}}
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		c.base[variable], c.known[name] = true, true
	}
	return c
}

// live reads the zygote's packets until it has ended or broken the rules, and then ends it.
func (z *zygote) live() {
	buf := make([]byte, largestPacket)
	for {
		packet, fd, err := hear(z.control, buf)
		if errors.Is(err, errNoRoom) {
			z.log().Warn("a forked process cannot be taken over", slog.Any("error", err))
			z.supply.refused()
			continue
		}
		if err == nil {
			err = z.handle(packet, fd)
		} else if !errors.Is(err, errTooLarge) {
			break
		}
		if err != nil {
			z.log().Error("a script's zygote has sent what it must not", slog.Any("error", err))
			break
		}
	}
	z.retire()
	_ = z.control.Close() // the error tells nothing: the zygote has gone
	close(z.gone)
	for _, c := range z.supply.close() {
		c.dismiss()
	}
	z.bury()
}

// bury ends the process and its group.
func (z *zygote) bury() {
	if !z.proc.EndsWithin(lingering) {
		z.proc.Signal(syscall.SIGKILL)
	}
	how := z.proc.Finish()
	z.log().Debug("a script's zygote has ended", slog.String("how", how.String()))
	// Children that it has forked and not told of are in its group yet, and were killed with it. They are reaped here. One
	// that does not die in time is reaped by the init process when the gateway has ended.
	for deadline := time.Now().Add(lingering); time.Now().Before(deadline); {
		switch pid, err := syscall.Wait4(-z.proc.Pid(), nil, syscall.WNOHANG, nil); {
		case errors.Is(err, syscall.EINTR):
		case err != nil: // ECHILD
			return
		case pid == 0:
			time.Sleep(time.Millisecond)
		}
	}
}

// handle takes in a packet, and the descriptor that came with it or -1. An error is that the zygote has broken the rules.
func (z *zygote) handle(packet []byte, fd int) error {
	p, err := decode(packet, fd >= 0)
	switch {
	case err != nil:
	case p.kind == cannotFork:
		z.log().Warn("a script's zygote cannot fork", slog.String("error", p.text))
		z.supply.refused()
		return nil
	case p.kind != forked:
		err = fmt.Errorf("%s: a zygote says that only before its first child", excerpt(packet))
	case !z.owner.adopt(p.pid, z.proc.Pid()):
		err = fmt.Errorf("process %d is no child of it", p.pid)
	}
	if err != nil {
		if fd >= 0 {
			_ = syscall.Close(fd) // nothing was written
		}
		return err
	}
	c := &child{zygote: z, pid: p.pid, socket: fd}
	if z.persistent {
		c.worker = &worker{child: c}
	}
	asked, taken := z.supply.arrived(c)
	if !taken {
		c.dismiss()
	}
	if !asked {
		return errors.New("it has forked a process that was not ordered")
	}
	return nil
}

// adopt takes note of a process that a zygote has forked. It must be a child of this
// process, be in the zygote's group, and have run no other program yet, which is what
// setpgid asks for.
func (f *Scripts) adopt(pid, group int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, known := f.children[pid]; known || pid == group {
		return false
	}
	if is, err := syscall.Getpgid(pid); err != nil || is != group {
		return false
	}
	if syscall.Setpgid(pid, pid) != nil {
		return false
	}
	f.children[pid] = struct{}{}
	return true
}

// disown is called when a process was reaped. Its number may be another process's from then on.
func (f *Scripts) disown(pid int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.children, pid)
}

// order asks the zygote for n processes. A zygote that does not read is killed.
func (z *zygote) order(n int) {
	for ; n > 0; n -= 255 {
		if err := post(z.control, []byte{byte(min(n, 255))}); err != nil {
			z.proc.Signal(syscall.SIGKILL) // live sees its end; it may also have ended before
			return
		}
	}
}

// take returns a process that waits for a request, nil where none can be had.
func (z *zygote) take(ctx context.Context) *child {
	forkTime := z.owner.forkTime
	patience := forkTime
	if z.persistent { // all may be busy
		patience = z.owner.config.QueueTimeout
	}
	c := z.supply.take(ctx, patience)
	if c == nil && z.supply.overdue(forkTime) {
		z.log().Warn("a script's zygote does not answer and is killed", slog.Int("pid", z.proc.Pid()))
		z.proc.Signal(syscall.SIGKILL)
	}
	return c
}

// rest ends the processes that wait for a request, but for one.
func (z *zygote) rest() {
	for _, c := range z.supply.shrink() {
		c.dismiss()
	}
}

// retire tells the zygote to end. Packets that it has sent before are still read.
func (z *zygote) retire() {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.retired {
		return
	}
	z.retired = true
	_ = z.control.SetReadDeadline(time.Now().Add(lingering)) // a socket has deadlines
	conn, err := z.control.SyscallConn()
	if err != nil {
		return // closed
	}
	_ = conn.Control(func(fd uintptr) { _ = syscall.Shutdown(int(fd), syscall.SHUT_WR) }) // fails when it has gone
}

func (z *zygote) isGone() bool {
	select {
	case <-z.gone:
		return true
	default:
		return false
	}
}

// isStale reports whether a file that the compilation has looked at has changed. Files that a request may change are looked
// at for each request, the others once a second.
func (z *zygote) isStale(now time.Time) bool {
	z.mu.Lock()
	all := now.Sub(z.looked) >= lookEvery
	if all {
		z.looked = now
	}
	stale := z.stale
	z.mu.Unlock()
	if stale {
		return true
	}
	if z.seen.changed(z.seen.data) || all && (z.seen.changed(z.seen.code) || z.calendar && !isOneYear(z.since, now)) {
		z.mu.Lock()
		defer z.mu.Unlock()
		z.stale = true
		return true
	}
	return false
}

// wasStale reports what isStale has found before.
func (z *zygote) wasStale() bool {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.stale
}

// accepts reports whether the compilation would have read the same variables in this environment.
func (z *zygote) accepts(env []string) bool {
	for _, name := range z.reads {
		if lookup(env, name) == lookup(z.environ, name) {
			continue
		}
		z.mu.Lock()
		first := !z.mismatch
		z.mismatch = true
		z.mu.Unlock()
		if first {
			z.log().Info("requests that differ in a variable are run by exec: the script looks at it while it is compiled",
				slog.String("variable", name))
		}
		return false
	}
	return true
}

func (z *zygote) log() *slog.Logger {
	return z.owner.config.Logger().With(slog.String("script", z.file))
}
