//go:build amd64 || arm64 || riscv64

package cgi

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/cgi/perlfork"
	"github.com/pagi-go/pagi-bridge/internal/confine"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// confinedVariable names the file that a confined script must not read.
const confinedVariable = "PAGI_TEST_CONFINED"

// usualReads is a script that tries to read what a script has no business with, and to write. Each line is an attempt and
// the number of its error, 0 for none.
const usualReads = `
for my $file ('/etc/passwd', '/etc/shadow', '/root', $ENV{SECRET}, "/proc/$ENV{GATEWAY}/environ", "/proc/$ENV{GATEWAY}/mem") {
	$! = 0;
	my $done = -d $file ? opendir(my $d, $file) : open(my $f, '<', $file);
	print "read $file ", $done ? 0 : $!+0, "\n";
}
for my $file ("$ENV{SCRATCH}/own", "$ENV{SECRET}.new", '/tmp/pagi-bridge-confined') {
	print "write $file ", open(my $f, '>', $file) ? 0 : $!+0, "\n";
}
print "shell ", system("cat '$ENV{SECRET}' >/dev/null 2>&1") ? 'refused' : 'read', "\n";
print "signal ", kill(0, $ENV{GATEWAY}), "\n";
`

// TestScriptsOfAConfinedAdapter runs scripts in each mode below Landlock, as root and as another user. This test is also
// the adapter.
func TestScriptsOfAConfinedAdapter(t *testing.T) {
	if secret := os.Getenv(confinedVariable); secret != "" {
		if err := confine.Apply(); err != nil { // at the first call it begins this program anew
			t.Fatal(err)
		}
		confinedScripts(t, secret)
		return
	}
	testkit.Tool(t, "perl", "perl")
	if os.Geteuid() != 0 {
		t.Skip("only root can start processes of other users")
	}
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, isolation := range map[string]confine.Isolation{
		"root":         {PrivateTmp: true, Read: []string{}, Require: []string{"landlock"}},
		"another user": {PrivateTmp: true, Read: []string{}, User: "61001", Group: "61001", Require: []string{"landlock"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command("/proc/self/exe", "-test.run=^TestScriptsOfAConfinedAdapter$", "-test.v", "-test.count=1")
			cmd.Dir, cmd.Env = "/", []string{confinedVariable + "=" + secret, "GORACE=atexit_sleep_ms=0"}
			plan, err := isolation.Prepare(cmd, confine.Needs{})
			if err != nil && strings.Contains(err.Error(), "the system lacks") {
				t.Skip(err)
			}
			if err != nil {
				t.Fatal(err)
			}
			out, err := cmd.CombinedOutput()
			if err != nil || !strings.Contains(string(out), "\n--- PASS: TestScriptsOfAConfinedAdapter") {
				t.Errorf("%v:\n%s", err, out)
			}
			if err := plan.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// confinedScripts is what the adapter does.
func confinedScripts(t *testing.T, secret string) {
	for _, mode := range []string{ModeExec, ModeFork, ModePersistent} {
		root := testkit.Tree(t, map[string]string{"usual.cgi": textHeader + usualReads, "shell.cgi": "#!/bin/sh\necho Content-Type: text/plain\necho\ncat \"$SECRET\" 2>&1\n"})
		d := &directoryInMode{log: &runLog{}, scratch: t.TempDir()}
		d.app = build(t, CGI{
			Root:    root,
			Env:     map[string]string{"SECRET": secret, "SCRATCH": d.scratch, "GATEWAY": strconv.Itoa(os.Getppid())},
			Options: perlfork.Options{Mode: mode},
			Logger:  d.log.Logger(),
		}).(*app)
		if err := d.app.startup(t.Context()); err != nil {
			t.Fatal(err)
		}
		gateway := "/proc/" + strconv.Itoa(os.Getppid())
		want := "read /etc/passwd 0\nread /etc/shadow 13\nread /root 13\nread " + secret + " 13\nread " + gateway + "/environ 13\nread " + gateway + "/mem 13\n" +
			"write " + d.scratch + "/own 0\nwrite " + secret + ".new 13\nwrite /tmp/pagi-bridge-confined 13\nshell refused\nsignal 0\n"
		for range 2 * perlfork.Worthwhile {
			if got := d.body(t, "/usual.cgi"); got != want {
				t.Fatalf("%s: got\n%s\nwant\n%s", mode, got, want)
			}
		}
		if mode != ModeExec {
			if why := d.settle(t, "usual.cgi"); why != "" {
				t.Errorf("%s: it is run by exec: %s", mode, why)
			}
			if got := d.body(t, "/usual.cgi"); got != want {
				t.Errorf("%s, compiled: got\n%s", mode, got)
			}
		}
		if got := d.body(t, "/shell.cgi"); !strings.Contains(got, "Permission denied") {
			t.Errorf("%s: a shell reads %q", mode, got)
		}
		if err := d.app.shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}
}
