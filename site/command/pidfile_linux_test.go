package command_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

func TestAPidFileIsAFile(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"f.txt": "x", "precious": "keep"})
	if err := os.Symlink("precious", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for pid, want := range map[string]string{"link": "pid file: link is a symbolic link", "pipe": "pid file: pipe is no regular file"} {
		if code, _, stderr := once(t, dir, "-p", "0", "--pid", pid, "."); code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("%s: %d %q", pid, code, stderr)
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, "precious")); err != nil || string(text) != "keep" {
		t.Errorf("what the link leads to: %q, %v", text, err)
	}
}
