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

// NoneLeft checks that no process stays that has dir for its working directory, and
// kills those that do. A program started there can be told from others by that even
// when it has changed its name and has no parent any more.
func NoneLeft(t testing.TB, dir string) {
	t.Helper()
	if poll(func() bool { return len(workingIn(t, dir)) == 0 }) {
		return
	}
	for _, pid := range workingIn(t, dir) {
		command, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)) // if it fails, the message only tells less
		t.Errorf("process %d was left behind: %q", pid, command)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			t.Error(err)
		}
	}
}

func workingIn(t testing.TB, dir string) (pids []int) {
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

// Descriptors returns how many a process has open.
func Descriptors(t testing.TB, pid int) int {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
