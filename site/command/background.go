package command

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
)

// background starts this program again in a session of its own. It returns once the new process
// serves, or has written to this terminal why it does not.
func background(ctx context.Context, args []string, p Process) int {
	l := &launcher{program: p.program, args: args, env: p.environ}
	_, err := l.start(ctx, &takeover{Background: true}, p.sockets, func(cmd *exec.Cmd) {
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	})
	var failed *startError
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &failed) && failed.code > 0: // the new process has printed the reason
		return failed.code
	}
	return complain(p, ExitFailure, err)
}
