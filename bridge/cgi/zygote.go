//go:build linux && (amd64 || arm64 || riscv64)

package cgi

import (
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// lingering is how long a zygote may take to end that was told to.
	lingering = time.Second
	// usualForkTime is how long a zygote may take to fork. One that takes longer is
	// stopped, or stuck, and is ended.
	usualForkTime = 10 * time.Second
)

// zygote is a process that has compiled a script and forks one for each request. It
// leads a process group, in which its children are until they are known here. They are the
// gateway's children, which waits for them as for all it has started.
//
//	starting --settled--> serving --retire--> retired --its end, or a second--> gone
//	   |                     |                   ^
//	   +-- cannot be used ---+-- has ended, or --+
//	                             sent nonsense
//
// live is the goroutine that sees a zygote from serving to gone; startZygote begins it in
// any case.
type zygote struct {
	owner   *accelerator
	file    string
	proc    *process
	control *os.File
	since   time.Time
	// persistent has its children run the script many times.
	persistent    bool
	program, data string // the main program then, and where in file DATA begins

	environ []string        // what the script was compiled with
	base    map[string]bool // the same, "NAME=VALUE"
	known   map[string]bool // names of variables that a child has, unless it is told otherwise
	trigger []string        // the environment of the request that has it compiled
	reads   []string        // variables that the compilation has looked at
	said    []byte          // what it has written to standard error
	loaded  map[string]fileID

	supply *supply
	gone   chan struct{} // closed when it forks no more

	mu       sync.Mutex
	retired  bool
	looked   time.Time
	stale    bool
	scouts   int  // how many children still tell what they have loaded
	mismatch bool // it has been logged that requests differ in what was read
}

// live reads what the zygote says, and sees it to its end.
func (z *zygote) live() {
	buf := make([]byte, largestMessage)
	for {
		message, fd, err := hear(z.control, buf)
		if errors.Is(err, errNoRoom) {
			z.log().Warn("a forked process cannot be taken over", slog.Any("error", err))
			z.supply.refused()
			continue
		}
		if err != nil {
			break
		}
		if !z.handle(string(message), fd) {
			z.log().Error("a script's zygote has sent what it must not", slog.String("message", excerpt(message)))
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
	if !z.proc.exitsWithin(lingering) {
		z.proc.signal(syscall.SIGKILL)
	}
	how := describe(z.proc.finish())
	z.log().Debug("a script's zygote has ended", slog.String("how", how))
	// Children it has forked and not told of are in its group yet, and were killed with
	// it. One that will not die is left to whoever comes after us.
	for deadline := time.Now().Add(lingering); time.Now().Before(deadline); {
		switch pid, err := syscall.Wait4(-z.proc.pid, nil, syscall.WNOHANG, nil); {
		case errors.Is(err, syscall.EINTR):
		case err != nil: // ECHILD
			return
		case pid == 0:
			time.Sleep(time.Millisecond)
		}
	}
}

// handle takes a message in and reports whether it is one.
func (z *zygote) handle(message string, fd int) bool {
	if strings.HasPrefix(message, "E") && fd < 0 {
		z.log().Warn("a script's zygote cannot fork", slog.String("error", message[1:]))
		z.supply.refused()
		return true
	}
	pid, scout := 0, strings.HasPrefix(message, "S")
	if len(message) == 5 && (scout || message[0] == 'C') {
		pid = int(int32(binary.NativeEndian.Uint32([]byte(message[1:]))))
	}
	if pid <= 1 || fd < 0 || !z.owner.adopt(pid, z.proc.pid) {
		if fd >= 0 {
			_ = syscall.Close(fd) // nothing was written
		}
		return false
	}
	c := &child{zygote: z, pid: pid, job: fd, scout: scout}
	if z.persistent {
		c.worker = &worker{child: c}
	}
	asked, taken := z.supply.arrived(c)
	if !taken {
		c.dismiss()
	}
	return asked
}

// adopt takes note of a process that a zygote has forked. It must be a child of this
// process, be in the zygote's group, and have run no other program yet, which is what
// setpgid asks for.
func (f *accelerator) adopt(pid, group int) bool {
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

// disown is called when a process was reaped: its number may come again.
func (f *accelerator) disown(pid int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.children, pid)
}

// order asks for n processes. A zygote that does not read is ended.
func (z *zygote) order(n int) {
	for ; n > 0; n -= 255 {
		if err := post(z.control, []byte{byte(min(n, 255))}); err != nil {
			z.proc.signal(syscall.SIGKILL) // live sees its end, if that is not the reason
			return
		}
	}
}

// take returns a process that waits for a request, nil where none can be had.
func (z *zygote) take(ctx context.Context) *child {
	forkTime := z.owner.forkTime
	patience := forkTime
	if z.persistent { // all may be busy
		patience = z.owner.app.QueueTimeout
	}
	c := z.supply.take(ctx, patience)
	if c == nil && z.supply.overdue(forkTime) {
		z.log().Warn("a script's zygote does not answer and is killed", slog.Int("pid", z.proc.pid))
		z.proc.signal(syscall.SIGKILL)
	}
	return c
}

// rest ends the processes that wait, all but one.
func (z *zygote) rest() {
	for _, c := range z.supply.shrink() {
		c.dismiss()
	}
}

// retire tells the zygote to end. What it has forked and still tells of is taken in.
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

func (z *zygote) isGone() bool { return isClosed(z.gone) }

// isStale reports whether a file that was compiled with the script has changed.
func (z *zygote) isStale(now time.Time) bool {
	z.mu.Lock()
	if z.stale || now.Sub(z.looked) < lookEvery {
		defer z.mu.Unlock()
		return z.stale
	}
	z.looked = now
	z.mu.Unlock()
	for name, id := range z.loaded {
		if is, err := identify(name); err != nil || is != id || id.isNewerThan(z.since) {
			z.mu.Lock()
			defer z.mu.Unlock()
			z.stale = true
			return true
		}
	}
	return false
}

// accepts reports whether the compilation would have seen the same in this environment.
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

// lookup returns "NAME=VALUE" of an environment, or "".
func lookup(env []string, name string) string {
	for _, variable := range env {
		if len(variable) > len(name) && variable[len(name)] == '=' && variable[:len(name)] == name {
			return variable
		}
	}
	return ""
}

func (z *zygote) log() *slog.Logger {
	return z.owner.app.logger().With(slog.String("script", z.file))
}
