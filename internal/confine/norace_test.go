//go:build linux && !race

package confine

import (
	"errors"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// TestAProcessOverItsMemoryLimit is about the least limit, within which the adapter still works, and about a system without
// control groups. The race detector maps more than that.
func TestAProcessOverItsMemoryLimit(t *testing.T) {
	perl := testkit.Tool(t, "perl", "perl")
	bare := thisSystem
	bare.place = func() (*place, error) { return nil, errors.New("there is none") }
	for name, i := range map[string]Isolation{
		"its own limit":   {ProcessMemory: minProcessMemory},
		"that of a group": {Memory: minMemory},
	} {
		cmd := command(perl, "-e", `print "begins\n"; my $x = "x" x (1 << 29); print "has it\n"`)
		plan, err := i.prepare(bare, cmd, Needs{})
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), "Out of memory") || strings.Contains(string(out), "has it") {
			t.Errorf("%s: %v, %s", name, err, out)
		}
		if err := plan.Close(); err != nil {
			t.Error(err)
		}
	}
}
