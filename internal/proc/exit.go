//go:build unix

package proc

import (
	"errors"
	"strconv"
	"syscall"
)

// Exit is how a process ended.
type Exit struct {
	Status syscall.WaitStatus
	// Usage is what the process has used, and those of its children that it has waited for.
	Usage syscall.Rusage
}

// String describes it in the words of os.ProcessState: "exit status 2", "signal: killed".
func (e Exit) String() string { return Describe(e.Status) }

// Describe says in the words of os.ProcessState how a process ended: "exit status 2", "signal: killed (core dumped)".
func Describe(s syscall.WaitStatus) string {
	switch {
	case s.Signaled() && s.CoreDump():
		return "signal: " + s.Signal().String() + " (core dumped)"
	case s.Signaled():
		return "signal: " + s.Signal().String()
	}
	return "exit status " + strconv.Itoa(s.ExitStatus())
}

// Reap collects an orphan that the kernel has given to this process, as it does to process 1 of a container, and returns
// how it ended. It does not wait; ok is false where the process has not ended or is no child.
func Reap(pid int) (status syscall.WaitStatus, ok bool) {
	for {
		got, err := syscall.Wait4(pid, &status, syscall.WNOHANG, nil)
		if !errors.Is(err, syscall.EINTR) {
			return status, err == nil && got == pid
		}
	}
}
