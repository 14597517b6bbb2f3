//go:build amd64 || arm64 || riscv64

package cgi

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/cgi/perlfork"
	"github.com/pagi-go/pagi-bridge/internal/status"
)

// Compiled scripts are shown with their process, those that are left to exec with the reason, and
// runs with how they are run.
func TestStatusShowsCompiledScripts(t *testing.T) {
	const wait = `$| = 1; print "here\n"; until (-e $ENV{QUERY_STRING}) { select undef, undef, undef, 0.01 }`
	for _, mode := range []string{ModeFork, ModePersistent} {
		t.Run(mode, func(t *testing.T) {
			d := serveTree(t, mode, CGI{Options: perlfork.Options{PersistentWorkers: 1}}, map[string]string{
				"wait.cgi": wait, "shell.cgi": "#!/bin/sh\necho 'Content-Type: text/plain'; echo; echo hello\n",
			})
			d.body(t, "/shell.cgi")
			gate := filepath.Join(t.TempDir(), "gate")
			l := begin(t, d.app, ask{target: "/wait.cgi?" + gate})
			l.feed("", false)
			l.text("here\n")
			now := d.app.Status()
			if len(now.Scripts) != 1 || now.Scripts[0].Mode != mode || now.Scripts[0].PID == 0 || now.Scripts[0].Request == nil {
				t.Errorf("the run: %+v", now.Scripts)
			}
			want := status.Runs{Exec: 1, Fork: 1} // that of the shell script, too
			if mode == ModePersistent {
				want = status.Runs{Exec: 1, Persistent: 1}
			}
			if *now.Runs != want {
				t.Errorf("runs: %+v", *now.Runs)
			}
			if len(now.Compiled) != 2 {
				t.Fatalf("%+v", now.Compiled)
			}
			shell, one := now.Compiled[0], now.Compiled[1]
			if filepath.Base(shell.Script) != "shell.cgi" || shell.State != "exec" || shell.Reason == "" || shell.PID != 0 || shell.Requests != 1 {
				t.Errorf("the shell script: %+v", shell)
			}
			if one.State != "compiled" || one.PID == 0 || one.Requests != 1 || one.Used.IsZero() || one.Persistent != (mode == ModePersistent) ||
				one.Persistent && (one.Processes != 1 || one.Idle != 0) {
				t.Errorf("the Perl script: %+v", one)
			}
			if err := os.WriteFile(gate, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := l.end(); err != nil {
				t.Error(err)
			}
		})
	}
}
