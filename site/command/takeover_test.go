package command

import (
	"context"
	"errors"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// A process neither answers nor ends, and its child keeps the descriptors open.
func TestAProcessThatIsNotReadyInTimeIsKilled(t *testing.T) {
	l := &launcher{program: "/bin/sh", args: []string{"-c", "trap '' TERM; sleep 20; true"}, killAfter: 100 * time.Millisecond}
	late := errors.New("too late")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, late)
	defer cancel()
	began := time.Now()
	_, err := l.start(ctx, &takeover{}, nil, func(cmd *exec.Cmd) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		t.Cleanup(func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }) // its child is left
	})
	if !errors.Is(err, late) {
		t.Errorf("error %v", err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}
