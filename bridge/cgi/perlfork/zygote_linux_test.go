//go:build amd64 || arm64 || riscv64

package perlfork

import (
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

func TestAZygoteThatDoesNotAnswerIsKilled(t *testing.T) {
	for _, mode := range []string{ModeFork, ModePersistent} {
		t.Run(mode, func(t *testing.T) {
			d := serveTree(t, mode, Config{QueueTimeout: 300 * time.Millisecond, Options: Options{PersistentWorkers: 3}}, map[string]string{"a.cgi": `select undef, undef, undef, 0.1; print 1;`})
			d.body(t, "a.cgi")
			d.forkTime = 100 * time.Millisecond
			z := d.zygote("a.cgi")
			if err := syscall.Kill(z.proc.Pid(), syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			for range 10 {
				all.Go(func() {
					if got := d.body(t, "a.cgi"); got != "1" && got != byExec {
						t.Errorf("got %q", got)
					}
				})
			}
			all.Wait()
			testkit.Eventually(t, "the zygote to be killed", z.isGone)
		})
	}
}

func TestOnlyAZygotesOwnChildrenAreTakenFromIt(t *testing.T) {
	d := serveTree(t, ModeFork, Config{}, map[string]string{"a.cgi": `print 1;`, "b.cgi": `print 1;`})
	d.body(t, "a.cgi")
	d.body(t, "b.cgi")
	a := d.zygote("a.cgi")
	b := d.zygote("b.cgi")
	group, err := syscall.Getpgid(0)
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range []int{os.Getpid(), a.proc.Pid(), b.proc.Pid(), 1} {
		if d.adopt(pid, a.proc.Pid()) {
			t.Errorf("process %d was taken for a child of %d", pid, a.proc.Pid())
		}
	}
	if now, err := syscall.Getpgid(0); err != nil || now != group {
		t.Errorf("the gateway was moved from group %d to %d, %v", group, now, err)
	}
}

func TestAScriptThatCannotBeCompiledJustNowIsTriedAgain(t *testing.T) {
	d := serveTree(t, ModeFork, Config{}, map[string]string{"a.cgi": `print 1;`})
	dir := d.dir
	d.dir = "/nowhere" // a persistent program could not be written there
	d.config.Persistent = []string{"a.cgi"}
	if got := d.body(t, "a.cgi"); got != byExec {
		t.Errorf("got %q", got)
	}
	d.dir = dir
	d.mu.Lock()
	s := d.scripts[d.file("a.cgi")]
	if s.state != Untried || s.again.IsZero() {
		t.Errorf("state %v", s.state)
	}
	s.again = time.Time{}
	d.mu.Unlock()
	d.body(t, "a.cgi")
	if state := d.state("a.cgi"); state != Compiled {
		t.Errorf("state %v", state)
	}
}
