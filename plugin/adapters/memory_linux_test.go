//go:build !race

package adapters

import (
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/psgi"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/confine"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// A worker that grows over the limit of its mount ends. Its neighbours do not notice, and the log says why.
func TestAWorkerOverItsMemoryLimitEndsAlone(t *testing.T) {
	h := newHouse(t)
	o := psgi.PSGI{Code: tries, Name: "/grows", Processes: worker.Processes{Workers: 1}}
	c := pagitest.Start(t, h.app(t, confine.Isolation{Memory: 128 << 20}, o))
	o.Name = "/other"
	other := pagitest.Start(t, h.app(t, confine.Isolation{Name: "other"}, o))
	before, neighbour := try(t, c, "whoami", ""), try(t, other, "whoami", "")
	if got := try(t, c, "grow", "5"); got != "ok" {
		t.Errorf("within the limit: %s", got)
	}
	if res := c.Get("/", pagitest.Header("x-try", "grow 100")); res.Status != 502 && res.Status != 500 {
		t.Errorf("over the limit: %d", res.Status)
	}
	h.log.WaitFor(t, "memory")
	testkit.Eventually(t, "another worker", func() bool {
		res := c.Get("/", pagitest.Header("x-try", "whoami"))
		return res.Status == 200 && strings.Fields(res.Text())[0] != strings.Fields(before)[0]
	})
	if after := strings.Fields(try(t, c, "whoami", "")); after[1] != strings.Fields(before)[1] {
		t.Error("the adapter has died, too")
	}
	if again := try(t, other, "whoami", ""); again != neighbour {
		t.Errorf("the neighbour was %s and is %s", neighbour, again)
	}
	t.Log(h.log)
}
