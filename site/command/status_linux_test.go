package command_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

func TestInTheBackgroundNobodysStatusSocketIsTaken(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"f.txt": "x"})
	g := start(t, dir, "-p", "0", "--status-socket", "run/status", ".")
	if code, _, stderr := once(t, dir, "-D", "-p", "0", "--status-socket", "run/status", "."); code != 1 || !strings.Contains(stderr, "another process answers") {
		t.Errorf("a second gateway: %d %q", code, stderr)
	}
	if _, stdout, _ := once(t, dir, "status", "--status-socket", "run/status"); !strings.Contains(stdout, fmt.Sprintf("process %d, for ", g.Process.Pid)) {
		t.Errorf("the first one's status: %q", stdout)
	}
}

func TestTheStatusSocketsDirectoryIsOurs(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"f.txt": "x", "private/": "", "theirs/": ""})
	for _, d := range []string{"private", "theirs"} {
		if err := os.Chmod(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("private", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	wants := map[string]string{"link/s": "link is not a directory"}
	if os.Getuid() == 0 {
		if err := os.Chown(filepath.Join(dir, "theirs"), 65534, 65534); err != nil {
			t.Fatal(err)
		}
		wants["theirs/s"] = "the directory theirs must belong to user 0, who runs this process; it belongs to user 65534"
	}
	for socket, want := range wants {
		if code, _, stderr := once(t, dir, "-p", "0", "--status-socket", socket, "."); code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("%s: %d %q", socket, code, stderr)
		}
	}
}
