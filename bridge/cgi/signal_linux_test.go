//go:build amd64 || arm64 || riscv64

package cgi

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// answersAhead is a script that has ended, mark and all, while its client has taken nothing
// but the head. It leaves its pid in a file. Any other request is answered with "ok", and with
// the signal that a handler has noted.
const answersAhead = `
$| = 1;
if ($ENV{QUERY_STRING} eq 'slow') {
	print "first\n";
	open my $f, '>', "$ENV{SCRATCH}/pid.new" or die; print $f $$; close $f;
	rename "$ENV{SCRATCH}/pid.new", "$ENV{SCRATCH}/pid" or die;
	select undef, undef, undef, 0.01 until -e "$ENV{SCRATCH}/go";
	print 'b' x 20_000;
}
else { print "ok", $main::noted || '' }
`

// TestASignalHitsOnlyTheRequestItIsMeantFor has the process of a persistent script signalled
// when its run has ended and the gateway has not read the mark.
func TestASignalHitsOnlyTheRequestItIsMeantFor(t *testing.T) {
	const rounds = 3
	handler := `BEGIN { $SIG{TERM} = sub { $main::noted = ' signalled'; open my $f, '>', "$ENV{SCRATCH}/term" } } `
	type process struct{ pid, scratch string }
	isGone := func(p process) bool { return gone(p.pid) }
	hasNoted := func(p process) bool { _, err := os.Stat(filepath.Join(p.scratch, "term")); return err == nil }
	for name, c := range map[string]struct {
		script  string
		options CGI
		leaves  bool // the client does; else a time limit passes
		arrived func(process) bool
	}{
		"TERM for a client that has left":          {answersAhead, CGI{}, true, isGone},
		"TERM for a client that has left, handled": {handler + answersAhead, CGI{}, true, hasNoted},
		"KILL for a client that has left":          {handler + answersAhead, CGI{KillAfter: time.Millisecond}, true, isGone},
		"TERM at a time limit":                     {answersAhead, CGI{MaxRequestTime: 300 * time.Millisecond}, false, isGone},
		"TERM at a time limit, handled":            {handler + answersAhead, CGI{MaxRequestTime: 300 * time.Millisecond}, false, hasNoted},
		"KILL at a time limit":                     {handler + answersAhead, CGI{MaxRequestTime: 300 * time.Millisecond, KillAfter: time.Millisecond}, false, isGone},
	} {
		t.Run(name, func(t *testing.T) {
			c.options.Persistent, c.options.PersistentWorkers, c.options.PersistentRequests = []string{"p.cgi"}, 1, -1
			d := serveTree(t, ModeAuto, c.options, map[string]string{"p.cgi": c.script})
			d.body(t, "/p.cgi")
			if why := d.settle(t, "p.cgi"); why != "" {
				t.Fatal(why)
			}
			d.body(t, "/p.cgi")
			for round := range rounds {
				for _, name := range glob(t, filepath.Join(d.scratch, "*")) {
					if err := os.Remove(name); err != nil {
						t.Fatal(err)
					}
				}
				slow := beginSlow(t, d.app, ask{target: "/p.cgi?slow"})
				p := process{fileText(t, filepath.Join(d.scratch, "pid")), d.scratch}
				testkit.Await(t, slow.begun)
				if err := os.WriteFile(filepath.Join(d.scratch, "go"), nil, 0o600); err != nil {
					t.Fatal(err)
				}
				if c.leaves { // at a time limit the signal may be faster
					testkit.Eventually(t, "the worker to wait for its next request", func() bool { return waitsIn(p.pid, syscall.SYS_RECVMSG) })
					slow.leave(&pagi.DisconnectError{Reason: pagi.ReasonClientClosed})
				}
				testkit.Eventually(t, "the signal to arrive", func() bool { return c.arrived(p) })
				close(slow.takes)
				if err := testkit.Await(t, slow.err); err == nil {
					t.Error("the response that was broken off is no error")
				}
				for range 2 {
					if res := do(t, d.app, ask{target: "/p.cgi"}); res.err != nil || res.body != "ok" {
						t.Errorf("round %d: the next client gets %d %q, %v", round, res.status, res.body, res.err)
					}
				}
				testkit.Eventually(t, "the signalled process to be replaced", func() bool { return gone(p.pid) })
			}
		})
	}
}

// slowClient is a client that takes the head of a response, and its body when takes is closed.
type slowClient struct {
	begun chan pagi.Event // the head
	takes chan struct{}
	leave context.CancelCauseFunc
	err   chan error
}

func beginSlow(t *testing.T, application pagi.App, r ask) *slowClient {
	ctx, leave := context.WithCancelCause(context.Background())
	c := &slowClient{make(chan pagi.Event, 1), make(chan struct{}), leave, make(chan error, 1)}
	t.Cleanup(func() { leave(nil) })
	send := func(_ context.Context, ev pagi.Event) error {
		switch ev.(type) {
		case pagi.HTTPResponseStart:
			c.begun <- ev
		case pagi.HTTPResponseBody:
			<-c.takes
		}
		return nil
	}
	go func() { c.err <- application.Serve(ctx, r.scope(), r.receive(), send) }()
	return c
}

// waitsIn reports whether a process is in that system call.
func waitsIn(pid string, number int) bool {
	text, err := os.ReadFile("/proc/" + pid + "/syscall")
	return err == nil && strings.HasPrefix(string(text), fmt.Sprint(number)+" ")
}
