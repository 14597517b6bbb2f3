package pool

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// With Preload a reload starts another zygote, and the workers come from that one.
func TestReloadOfAZygote(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken")
	s := preloading(t, "failed and stays:"+broken, Options{Processes: worker.Processes{Workers: 3}, Limits: Limits{Limits: worker.Limits{KillAfter: 200 * time.Millisecond}}})
	first := s.zygote()
	touch(t, broken)
	if err := s.reload(); err == nil || !strings.Contains(err.Error(), "no app today") {
		t.Errorf("of a version that cannot be loaded: %v", err)
	}
	if got := fmt.Sprint(generations(s.Status())); got != "[1 1 1]" || s.zygote().PID != first.PID || s.Status().Launched != 3 {
		t.Errorf("it has changed something: %+v", s.Status())
	}
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	if err := s.reload(); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(generations(s.Status())); got != "[3 3 3]" {
		t.Errorf("generations %s", got)
	}
	testkit.Eventually(t, "the first zygote to go", func() bool { return isGone(first.PID) && len(s.Status().Zygotes) == 1 })
	all := s.Status().Zygotes
	if len(all) != 1 || all[0].Children != 3 || all[0].State != "ready" {
		t.Errorf("zygotes: %+v", all)
	}
	if o := s.do("pid", false); o.err != nil {
		t.Error(o.err)
	}
}

// A zygote whose workers cannot get ready is ended, and the one before stays.
func TestReloadWhoseWorkersFail(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken")
	s := start(t, Options{Processes: worker.Processes{Workers: 2, Preload: true}, Limits: Limits{Limits: worker.Limits{KillAfter: 200 * time.Millisecond}}, Start: func(setup worker.Setup) (*exec.Cmd, []byte, error) {
		cmd, input, err := fakePreload("")(setup)
		if err == nil {
			cmd.Env = append(cmd.Env, "FAKE_WORKER=dies when:"+broken) // of its children
		}
		return cmd, input, err
	}})
	first := s.zygote()
	touch(t, broken)
	if err := s.reload(); err == nil || !strings.Contains(err.Error(), "it ended before it had served anything") {
		t.Errorf("error %v", err)
	}
	testkit.Eventually(t, "the new zygote to go", func() bool { return len(s.Status().Zygotes) == 1 })
	if z := s.zygote(); z.PID != first.PID || z.State != "ready" || z.Children != 2 {
		t.Errorf("%+v", z)
	}
	if o := s.do("pid", false); o.err != nil {
		t.Error(o.err)
	}
}
