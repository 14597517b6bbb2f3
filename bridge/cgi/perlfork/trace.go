//go:build linux && (amd64 || arm64 || riscv64)

package perlfork

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/pagi-go/pagi-bridge/internal/proc"
)

// tracee is a process that stops at each system call and before the first instruction of each
// program it runs. All methods must be called by the thread that has started the process.
type tracee struct {
	pid int
}

// The values of syscallInfo.op.
const (
	opEntry = 1 // unix.PTRACE_SYSCALL_INFO_ENTRY
	opExit  = 2 // unix.PTRACE_SYSCALL_INFO_EXIT
)

// syscallInfo is struct ptrace_syscall_info of linux/ptrace.h, which looks the same on every machine.
type syscallInfo struct {
	op       uint8
	_        [3]uint8
	arch     uint32
	at       uint64
	stack    uint64
	number   uint64 // where op is opExit: the result
	argument [6]uint64
}

// result returns what a system call has returned, where op is opExit. An error is negative.
func (i *syscallInfo) result() int64 { return int64(i.number) }

// errEnded says that a traced process has ended. It was not reaped.
var errEnded = errors.New("the process has ended")

// startTraced starts a program. It has stopped before its first instruction when startTraced returns. With an error there
// may be a process. The calling goroutine must be locked to its thread.
func startTraced(spec proc.Spec) (*proc.Process, tracee, error) {
	spec.Traced, spec.DiesWithParent = true, true
	p, err := proc.Start(spec)
	if err != nil {
		return nil, tracee{}, err
	}
	t := tracee{p.Pid()}
	if _, err := t.wait(); err != nil {
		return p, t, err
	}
	// The process is killed when this one ends. Stops at system calls can be told from stops for signals, and exec has a stop of
	// its own.
	return p, t, os.NewSyscallError("ptrace", unix.PtraceSetOptions(t.pid, unix.PTRACE_O_EXITKILL|unix.PTRACE_O_TRACESYSGOOD|unix.PTRACE_O_TRACEEXEC))
}

// wait waits for the next stop. It returns errEnded when the process has ended instead.
func (t tracee) wait() (syscall.WaitStatus, error) {
	for {
		var info unix.Siginfo
		err := unix.Waitid(unix.P_PID, t.pid, &info, unix.WSTOPPED|unix.WEXITED|unix.WNOWAIT, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return 0, os.NewSyscallError("waitid", err)
		case info.Code == cldExited || info.Code == cldKilled || info.Code == cldDumped:
			return 0, errEnded
		}
		var status syscall.WaitStatus
		_, err = syscall.Wait4(t.pid, &status, syscall.WALL, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return 0, os.NewSyscallError("wait4", err)
		case status.Stopped():
			return status, nil
		}
	}
}

// What a siginfo says of a child that has ended (linux/siginfo.h).
const (
	cldExited = 1
	cldKilled = 2
	cldDumped = 3
)

// resume lets the process go on to its next system call, the end of one, or a signal.
func (t tracee) resume(signal syscall.Signal) error {
	return t.orEnded(unix.PtraceSyscall(t.pid, int(signal)))
}

// release lets the process go on without being traced.
func (t tracee) release() error {
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PTRACE, unix.PTRACE_DETACH, uintptr(t.pid), 0, 0, 0, 0)
	if errno != 0 {
		return t.orEnded(errno)
	}
	return nil
}

// info says which system call the process has stopped at.
func (t tracee) info() (syscallInfo, error) {
	var info syscallInfo
	_, _, errno := syscall.RawSyscall6(syscall.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(t.pid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	if errno != 0 {
		return info, t.orEnded(errno)
	}
	return info, nil
}

// orEnded turns ESRCH into errEnded: the process was killed where it had stopped.
func (t tracee) orEnded(err error) error {
	if errors.Is(err, syscall.ESRCH) {
		return errEnded
	}
	return os.NewSyscallError("ptrace", err)
}

// word reads eight bytes of the process's memory.
func (t tracee) word(address uint64) (uint64, error) {
	var b [8]byte
	_, err := unix.PtracePeekData(t.pid, uintptr(address), b[:])
	return *(*uint64)(unsafe.Pointer(&b)), t.orEnded(err)
}

// text reads a string that ends with NUL, up to limit bytes.
func (t tracee) text(address uint64, limit int) (string, error) {
	var b []byte
	for len(b) < limit {
		// An aligned word does not reach into the next page, which may not exist.
		skip := address % 8
		w, err := t.word(address - skip)
		if err != nil {
			return "", err
		}
		bytes := (*[8]byte)(unsafe.Pointer(&w))[skip:]
		for _, c := range bytes {
			if c == 0 {
				return string(b), nil
			}
			b = append(b, c)
		}
		address += uint64(len(bytes))
	}
	return "", fmt.Errorf("a string of more than %d bytes", limit)
}

// write writes to the process's memory.
func (t tracee) write(address uint64, b []byte) error {
	_, err := unix.PtracePokeData(t.pid, uintptr(address), b)
	return t.orEnded(err)
}

// span is a range of the process's memory.
type span struct{ address, length uint64 }

// Entries of the auxiliary vector (linux/auxvec.h).
const (
	auxNull   = 0
	auxIgnore = 1
	auxEntry  = 9  // AT_ENTRY
	auxVDSO   = 33 // AT_SYSINFO_EHDR
)

// prepare is called when a program has stopped before its first instruction. It hides the functions by which programs read
// the clock without a system call. It returns where the arguments are, and where the program begins.
func (t tracee) prepare() (arguments span, entry uint64, err error) {
	info, err := t.info()
	if err != nil {
		return span{}, 0, err
	}
	at := info.stack
	count, err := t.word(at)
	if err != nil {
		return span{}, 0, err
	}
	first, err := t.word(at + 8)
	if err != nil {
		return span{}, 0, err
	}
	at += 8 * (count + 2) // the count, the arguments, a null
	environment, err := t.word(at)
	if err != nil {
		return span{}, 0, err
	}
	for w := environment; w != 0; { // the environment, with a null
		at += 8
		if w, err = t.word(at); err != nil {
			return span{}, 0, err
		}
	}
	at += 8
	for ; ; at += 16 {
		kind, err := t.word(at)
		switch {
		case err != nil:
			return span{}, 0, err
		case kind == auxNull:
			if environment <= first {
				return span{}, entry, nil // there is no environment behind the arguments
			}
			return span{first, environment - first}, entry, nil
		case kind == auxEntry:
			if entry, err = t.word(at + 8); err != nil {
				return span{}, 0, err
			}
		case kind == auxVDSO:
			ignore := uint64(auxIgnore)
			if err := t.write(at, (*[8]byte)(unsafe.Pointer(&ignore))[:]); err != nil {
				return span{}, 0, err
			}
		}
	}
}

// tryTracing finds out, once, whether this system lets us see the system calls of a process. Some
// sandboxes forbid to trace, and Linux before 5.3 does not say what a call is.
var tryTracing = sync.OnceValue(func() error {
	runtime.LockOSThread() // a tracer is a thread
	defer runtime.UnlockOSThread()
	p, t, err := startTraced(proc.Spec{Args: []string{"/proc/self/exe"}, Dir: "/", Env: []string{"A=B"}})
	if err == nil {
		_, _, err = t.prepare()
	}
	if p != nil {
		p.Signal(syscall.SIGKILL)
		p.Finish()
	}
	if err != nil {
		return fmt.Errorf("the system calls of a process cannot be watched here (ptrace): %w", err)
	}
	return nil
})
