//go:build unix

package pool

import (
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// isolate gives the worker a process group of its own: a signal typed at the
// terminal reaches the gateway only, and the whole group can be ended.
func isolate(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
}

// terminate and killGroup signal a process group. That it is gone already is the
// only way for it to fail, and what was wanted.
func terminate(pid int) { _ = syscall.Kill(-pid, syscall.SIGTERM) }
func killGroup(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) }

// groupExists reports whether a process of the group is left. A zombie counts.
func groupExists(pid int) bool { return !errors.Is(syscall.Kill(-pid, 0), syscall.ESRCH) }

// leadsGroup reports whether the process leads a group of its own, as each of ours
// does, or has gone. What it says of a pid is what makes it safe to be signalled.
func leadsGroup(pid int) bool {
	group, err := syscall.Getpgid(pid)
	return errors.Is(err, syscall.ESRCH) || err == nil && group == pid && pid != os.Getpid()
}

// pollProcess returns a function that waits until no process has this pid, or for
// the given time, and reports which.
func pollProcess(pid int) func(time.Duration) bool {
	return func(patience time.Duration) bool {
		for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
			if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
				return true
			}
			if time.Now().After(deadline) {
				return false
			}
		}
	}
}

// reap says how a process ended that has been handed on to this one, as all orphans
// are where the gateway is a container's first process.
func reap(pid int) (words string, ok bool) {
	var status syscall.WaitStatus
	got, err := syscall.Wait4(pid, &status, syscall.WNOHANG, nil)
	if err != nil || got != pid {
		return "", false
	}
	return exitWords(uint32(status)), true
}

// isReset reports whether a connection ended because its process did.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
