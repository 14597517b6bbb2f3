package command_test

import (
	"fmt"
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
