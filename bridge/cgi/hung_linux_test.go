//go:build amd64 || arm64 || riscv64

package cgi

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/cgi/perlfork"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// hanging is what the script of these tests does behind textHeader, by its query string.
const hanging = `sub hang {
    my ($how) = @_;
    if ($how eq 'sleep')   { sleep 1000 }
    if ($how eq 'sysread') { pipe my $r, my $w; sysread $r, my $b, 1 }
    if ($how eq 'waitpid') { my $pid = fork; if (!$pid) { exec 'sleep', '1000' } waitpid $pid, 0 }
    if ($how eq 'spin')    { my %h; while (1) { $h{ 1 + keys %h } = [ map { "x$_" } 1 .. 20 ]; %h = () if keys %h > 999 } }
    if ($how eq 'flock')   { open my $f, '>', "$ENV{SCRATCH}/lock"; flock $f, 2 }
    if ($how eq 'fifo')    { open my $f, '<', "$ENV{SCRATCH}/fifo" }
    if ($how eq 'own')     { $SIG{NUM60} = 'IGNORE'; $SIG{ILL} = sub { syswrite STDERR, "my own handler\n" }; sleep 1 while 1 }
}
hang($ENV{QUERY_STRING}) if $ENV{QUERY_STRING};
print 'went on';
`

// hangingLine returns the line of the script in which a text stands.
func hangingLine(text string) int {
	before, _, _ := strings.Cut(textHeader+hanging, text)
	return 1 + strings.Count(before, "\n")
}

func TestWhereAScriptHung(t *testing.T) {
	for _, mode := range []string{ModeExec, ModeFork, ModePersistent} {
		for _, how := range []string{"sleep", "sysread", "waitpid", "spin", "flock", "fifo", "own"} {
			t.Run(mode+" "+how, func(t *testing.T) {
				t.Parallel()
				d := serveTree(t, mode, CGI{
					RequestTimeout: 500 * time.Millisecond, KillAfter: 500 * time.Millisecond, Options: perlfork.Options{PersistentWorkers: 1},
				}, map[string]string{"a.cgi": hanging})
				held, err := os.Create(filepath.Join(d.scratch, "lock"))
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = held.Close() }()
				if err := syscall.Flock(int(held.Fd()), syscall.LOCK_EX); err != nil {
					t.Fatal(err)
				}
				if err := syscall.Mkfifo(filepath.Join(d.scratch, "fifo"), 0o600); err != nil {
					t.Fatal(err)
				}
				d.body(t, "/a.cgi")
				if mode != ModeExec {
					if why := d.settle(t, "a.cgi"); why != "" {
						t.Fatal(why)
					}
					d.body(t, "/a.cgi")
				}
				begin := time.Now()
				if res := do(t, d.app, ask{target: "/a.cgi?" + how, root: ""}); res.err == nil {
					t.Errorf("status %d, %q", res.status, res.body)
				}
				if took := time.Since(begin); took > testkit.Patience/2 {
					t.Errorf("the answer took %v", took)
				}
				testkit.Eventually(t, "the log to tell where it hung", func() bool { return strings.Contains(d.log.String(), "where it hung") })
				file := filepath.Join(d.app.Root, "a.cgi")
				want := []string{"state=", `request="GET /a.cgi"`, "request_timeout", "pid="}
				switch {
				case mode == ModeExec:
				case how == "own":
					want = append(want, "has not answered", "my own handler")
				default:
					want = append(want, fmt.Sprintf(`perl="%s:%d main::hang < %s:%d`, file, hangingLine("'"+how+"'"), file, hangingLine("hang($ENV")))
				}
				if how == "flock" {
					want = append(want, "flock(fd ")
				}
				for _, text := range want {
					if !strings.Contains(d.log.String(), text) {
						t.Errorf("%q is missing in\n%s", text, d.log)
					}
				}
				if strings.Contains(d.log.String(), "\x1e") {
					t.Errorf("the log has a raw stack:\n%s", d.log)
				}
				last := d.app.Status().LastHang
				if last == nil || last.Script != file || last.Request == nil || last.Kernel == nil || (len(last.Perl) > 0) != (mode != ModeExec && how != "own") {
					t.Errorf("the status says %+v", last)
				}
				if body := d.body(t, "/a.cgi"); body != "went on" {
					t.Errorf("the next request: %q", body)
				}
			})
		}
	}
}
