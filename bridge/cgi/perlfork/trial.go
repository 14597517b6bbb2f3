//go:build linux && (amd64 || arm64 || riscv64)

package perlfork

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pagi-go/pagi-bridge/internal/proc"
)

// trial is the compilation of a script in a process that this one traces. The process is
// killed before it does what a judge forbids; otherwise it becomes the script's zygote.
// Decision 18 says why.
//
//	started --exec, perl's start--> mark --the script is compiled--> mark --> let go
//	                                          |
//	                                          +-- forbidden --> killed
type trial struct {
	spec  proc.Spec
	begin func() error // called before the first instruction
	hides string       // the command line is overwritten when perl has opened this file; "": never

	process *proc.Process // nil: it could not be started
	judge
	arch      uint32 // the machine's; a program may make system calls of an older architecture
	arguments span   // the command line of the program that was started last
	judging   bool   // the Perl side has marked the beginning
	hidden    bool   // the command line was written over
}

// refusedError says what a script does, while it is compiled, that must be done anew for each request.
type refusedError struct{ what string }

func (e *refusedError) Error() string { return e.what + ", while it is compiled" }

// run starts the process and sees it through the compilation, which may take as long as limit. Without an error the process
// goes on untraced. With an error t.process may be set; the caller has to kill and reap it. The error is errEnded where the
// process has ended by itself.
func (t *trial) run(ctx context.Context, limit time.Duration) (err error) {
	runtime.LockOSThread() // a tracer is a thread
	defer runtime.UnlockOSThread()
	t.directory = t.spec.Dir
	if t.process, t.tracee, err = startTraced(t.spec); err != nil {
		return err
	}
	killer := &killer{pid: t.pid}
	late := time.AfterFunc(limit, killer.kill)
	unwatch := context.AfterFunc(ctx, killer.kill)
	defer unwatch()
	err = t.follow()
	if err == nil {
		err = t.release()
	}
	killer.stop()
	inTime := late.Stop()
	switch {
	case err != nil && ctx.Err() != nil:
		return transientError{context.Cause(ctx)}
	case errors.Is(err, errEnded) && !inTime:
		return transientError{fmt.Errorf("it was not compiled after %v", limit)}
	}
	return err
}

// killer kills a process from another goroutine, as long as its number is that process's.
type killer struct {
	mu      sync.Mutex
	pid     int
	stopped bool
}

func (k *killer) kill() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.stopped {
		_ = syscall.Kill(k.pid, syscall.SIGKILL) // it may have ended
	}
}

// stop makes later calls of kill do nothing. After it the owner may reap the process.
func (k *killer) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopped = true
}

// enter is called when a program has stopped before its first instruction.
func (t *trial) enter() (err error) {
	t.libraries = libraries{}
	var entry uint64
	if t.arguments, entry, err = t.prepare(); err != nil {
		return err
	}
	t.libraries.main = t.mapped(entry)
	info, err := t.info()
	if err != nil {
		return err
	}
	t.arch = info.arch
	t.files.closeAll()
	return nil
}

// follow lets the process run from its first instruction to the mark behind the compilation, where it stops.
func (t *trial) follow() error {
	if err := t.enter(); err != nil {
		return err
	}
	if err := t.begin(); err != nil {
		return err
	}
	signal := syscall.Signal(0)
	for {
		if err := t.resume(signal); err != nil {
			return err
		}
		status, err := t.wait()
		if err != nil {
			return err
		}
		const atCall = 0x80 // PTRACE_O_TRACESYSGOOD
		signal = 0
		switch cause := status.StopSignal(); {
		case cause == syscall.SIGTRAP|atCall:
			if err := t.atCall(); err != nil {
				return err
			}
		case cause == syscall.SIGTRAP && status.TrapCause() == unix.PTRACE_EVENT_EXEC:
			if err := t.enter(); err != nil {
				return err
			}
		case cause == syscall.SIGTRAP && status.TrapCause() <= 0 && !t.marking:
			return t.refuse("another process sends it a signal")
		case cause == syscall.SIGTRAP && status.TrapCause() <= 0: // the Perl side's mark
			if t.marking = false; t.judging {
				return nil
			}
			t.judging = true
		default:
			signal = cause
		}
	}
}

// atCall is called when the process has stopped before a system call, or behind one.
func (t *trial) atCall() error {
	info, err := t.info()
	switch {
	case err != nil:
		return err
	case info.op == opExit:
		if t.returned != nil {
			t.returned(info.result())
		}
		t.returned = nil
		if !t.hidden && t.hides != "" && t.files.last == t.hides {
			return t.hideArguments()
		}
		return nil
	case info.op != opEntry:
		return fmt.Errorf("a stop of the unknown kind %d", info.op)
	case info.arch != t.arch:
		return t.refuse("it makes system calls of another architecture")
	}
	why := t.judge.judge(&info)
	if why == "" && len(t.seen.listed) > mostSightings {
		why = fmt.Sprintf("it looks at more than %d files", mostSightings)
	}
	if why != "" && t.judging {
		return t.refuse(why)
	}
	return nil
}

// refuse kills the process before a system call, so that the call is not made.
func (t *trial) refuse(why string) error {
	if err := syscall.Kill(t.pid, syscall.SIGKILL); err != nil {
		return os.NewSyscallError("kill", err)
	}
	if _, err := t.wait(); !errors.Is(err, errEnded) {
		return fmt.Errorf("a process that was killed goes on: %w", err)
	}
	return &refusedError{why}
}

// idleName is the command line of a process that waits for a request.
const idleName = "pagi-bridge: waits for a request of a CGI script"

// hideArguments overwrites the command line. So programs that count the processes of a script do not count this one, nor
// those that wait. Perl has copied what it needs. A child gets the script's command line with its request.
func (t *trial) hideArguments() error {
	t.hidden = true
	if t.arguments.length == 0 {
		return nil
	}
	shown := make([]byte, t.arguments.length)
	copy(shown[:len(shown)-1], idleName)
	return t.write(t.arguments.address, shown)
}
