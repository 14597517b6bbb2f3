package testkit

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// NoneLeft checks that no process is left whose working directory is dir, and kills those that are.
// The directory identifies a program that a test has started, even when it has changed its name and
// has lost its parent.
func NoneLeft(t testing.TB, dir string) {
	t.Helper()
	if poll(func() bool { return len(WorkingIn(t, dir)) == 0 }) {
		return
	}
	for _, pid := range WorkingIn(t, dir) {
		command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // if it fails, the message only tells less
		t.Errorf("process %d was left behind: %q", pid, command)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Error(err)
		}
	}
}

// WorkingIn returns the processes whose working directory is dir.
func WorkingIn(t testing.TB, dir string) (pids []int) {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range links {
		if cwd, err := os.Readlink(link); err != nil || cwd != dir {
			continue // it is a zombie, or another user's
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link)))
		if err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// Descriptors returns how many descriptors a process has open.
func Descriptors(t testing.TB, pid int) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
