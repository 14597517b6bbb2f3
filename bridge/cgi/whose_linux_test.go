//go:build amd64 || arm64 || riscv64

package cgi

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/cgi/perlfork"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// whose answers with the name that its request has, in small and in large pieces, and repeats the
// request's body, which has the same name. A signal for another request would be told.
const whose = `
BEGIN { $SIG{TERM} = sub { $main::signalled = 1 } }
$| = 1 if $ENV{QUERY_STRING} =~ /flush/;
my ($name, $lines) = $ENV{QUERY_STRING} =~ /(client-\d+-\d+)&(\d+)/;
print "signalled\n" if $main::signalled;
for (1 .. $lines) {
	print "$name\n";
	last if $main::signalled;
}
my $body = join '', <STDIN>;
print $body, "end of $name\n";
`

// TestWhoseAnswerItIs has clients ask and leave, while the processes that answer them are stopped and
// continued. Each answer that is complete must be its client's own, whole, and nothing else.
func TestWhoseAnswerItIs(t *testing.T) {
	const clients = 6
	rounds := 40
	if testing.Short() {
		rounds = 10
	}
	for _, mode := range []string{ModeExec, ModeFork, ModeAuto, ModePersistent} {
		t.Run(mode, func(t *testing.T) {
			d := serveTree(t, mode, CGI{KillAfter: 200 * time.Millisecond, Options: perlfork.Options{PersistentWorkers: 3, PersistentRequests: 50}}, map[string]string{"a.cgi": whose})
			done := make(chan struct{})
			var disturber, all sync.WaitGroup
			disturber.Go(func() { stopAndContinue(t, done) })
			for c := range clients {
				all.Go(func() {
					random := rand.New(rand.NewPCG(uint64(c), 1))
					for n := range rounds {
						askAndProve(t, d.app, fmt.Sprintf("client-%d-%d", c, n), random)
					}
				})
			}
			all.Wait()
			close(done)
			disturber.Wait()
		})
	}
}

// askAndProve sends one request, from which it may leave, and looks at the answer.
func askAndProve(t *testing.T, application pagi.App, name string, random *rand.Rand) {
	lines := []int{1, 20, 5000}[random.IntN(3)]
	r := ask{target: fmt.Sprintf("/a.cgi?%s&%d", name, lines)}
	if random.IntN(2) == 0 {
		r.target += "&flush"
	}
	if random.IntN(2) == 0 {
		r.method, r.body = "POST", strings.Repeat("body of "+name+"\n", []int{1, 4000}[random.IntN(2)])
	}
	ctx, leave := context.WithCancelCause(t.Context())
	defer leave(nil)
	leaves := random.IntN(3) == 0
	if leaves {
		timer := time.AfterFunc(time.Duration(random.IntN(4000))*time.Microsecond, func() { leave(&pagi.DisconnectError{Reason: pagi.ReasonClientClosed}) })
		defer timer.Stop()
	}
	scope, res := r.scope(), &result{}
	err := application.Serve(ctx, scope, r.receive(), res.take(scope.Type))
	want := strings.Repeat(name+"\n", lines) + r.body + "end of " + name + "\n"
	switch {
	case leaves:
		// Its own script may have been signalled, and have said so or have been cut short.
		for line := range strings.Lines(res.body) {
			text, whole := strings.CutSuffix(line, "\n")
			if is := strings.TrimPrefix(strings.TrimPrefix(text, "body of "), "end of "); whole && is != name && is != "signalled" {
				t.Errorf("%s, which leaves, gets the line %q", name, line)
				break
			}
		}
	case !leaves && (err != nil || res.status != 200 || res.body != want):
		t.Errorf("%s gets %d bytes instead of %d, %.200q, status %d, %v", name, len(res.body), len(want), res.body, res.status, err)
	}
}

// hasBegunItsProgram reports whether a child runs a program of its own. Before that it has this process's memory,
// and the thread that has started it waits for it in a system call the Go scheduler does not know of. A
// child that was stopped there would stop the whole process, and nothing would ever continue it.
func hasBegunItsProgram(pid string) bool {
	own, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return false
	}
	program, err := os.Readlink("/proc/" + pid + "/exe")
	return err == nil && program != own
}

// stopAndContinue stops a child of this process for a moment, again and again.
func stopAndContinue(t *testing.T, done <-chan struct{}) {
	random := rand.New(rand.NewPCG(7, 7))
	for {
		select {
		case <-done:
			return
		case <-time.After(time.Duration(random.IntN(3000)) * time.Microsecond):
		}
		for pid := range strings.FieldsSeq(children(t)) {
			if random.IntN(4) > 0 {
				continue
			}
			number := 0
			if _, err := fmt.Sscan(pid, &number); err != nil {
				t.Errorf("a child's number is %q", pid)
				return
			}
			if !hasBegunItsProgram(pid) {
				continue
			}
			_ = syscall.Kill(number, syscall.SIGSTOP) // it may have ended
			time.Sleep(time.Duration(random.IntN(2000)) * time.Microsecond)
			_ = syscall.Kill(number, syscall.SIGCONT)
		}
	}
}
