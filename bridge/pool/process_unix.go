//go:build unix

package pool

import (
	"errors"
	"os/exec"
	"syscall"
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

// isReset reports whether a connection ended because its process did.
func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
