package leased

import (
	"os"
	"os/exec"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/worker"
)

// variable is set where tests run over leases.
const variable = "BRIDGE_CREW"

// Maker returns New where tests run over leases, else nil: then the workers are processes of the test itself.
func Maker() func(worker.Options, worker.Host) worker.Crew {
	if os.Getenv(variable) == "lease" {
		return New
	}
	return nil
}

// Again runs the tests of this program that match a pattern once more, over leases.
func Again(t *testing.T, pattern string) {
	t.Helper()
	if Maker() != nil {
		t.Skip("these tests run over leases already")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", pattern, "-test.timeout", "120s")
	cmd.Env = append(os.Environ(), variable+"=lease")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out[max(0, len(out)-16<<10):])
	}
}
