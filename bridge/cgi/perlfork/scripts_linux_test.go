//go:build amd64 || arm64 || riscv64

package perlfork

import (
	"fmt"
	"os"
	"syscall"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

func TestAZygoteThatDiesIsReplaced(t *testing.T) {
	d := serveTree(t, ModeFork, Config{}, map[string]string{"a.cgi": `print getppid;`})
	want := fmt.Sprint(os.Getpid())
	for range maxFailures - 1 {
		if got := d.body(t, "a.cgi"); got != want {
			t.Fatalf("the script's parent is %s, want %s", got, want)
		}
		z := d.zygote("a.cgi")
		if z == nil {
			t.Fatal("it is not compiled")
		}
		z.proc.Signal(syscall.SIGKILL)
		testkit.Eventually(t, "its end to be seen", z.isGone)
	}
	d.body(t, "a.cgi")
	z := d.zygote("a.cgi")
	if z == nil || z.isGone() {
		t.Fatal("it was not replaced")
	}
	z.proc.Signal(syscall.SIGKILL)
	testkit.Eventually(t, "its end to be seen", z.isGone)
	d.body(t, "a.cgi")
	if state := d.state("a.cgi"); state != Refused {
		t.Errorf("it dies again and again, and its state is %v", state)
	}
}
