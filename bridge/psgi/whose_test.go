package psgi

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/pool"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// Every answer of real workers proves to which request it belongs: its headers contain a word of
// that request, and its body repeats the word. Workers are stopped, continued and killed meanwhile,
// and clients leave.
func TestWhoseAnswerItIs(t *testing.T) {
	m := mount(t, PSGI{Processes: worker.Processes{Workers: 3}, Limits: pool.Limits{RequestTimeout: 300 * time.Millisecond, AnswerMemory: 8 << 10, AnswerSpool: 64 << 10}, Code: `
		my $dir = '` + t.TempDir() + `';
		sub {
			my ($env) = @_;
			my ($how, $word) = $env->{PATH_INFO} =~ m{\A/(\w+)/(.+)\z};
			my $head = ['X-Word' => $word];
			if ($env->{REQUEST_METHOD} eq 'POST') {
				my $body = do { local $/; readline $env->{'psgi.input'} };
				return [200, $head, [$body]];
			}
			return [200, $head, [$word]] if $how eq 'small';
			return [200, $head, [$word x 20_000]] if $how eq 'large';
			return sub { my $w = $_[0]->([200, $head]); $w->write($word) for 1 .. 40; $w->close } if $how eq 'stream';
			open my $out, '>', "$dir/$word" or die; print $out $word x 5000; close $out;
			open my $in, '<', "$dir/$word" or die;
			return [200, $head, $in];
		}`})
	until := time.Now().Add(3 * time.Second)
	var clients sync.WaitGroup
	var words, whole atomic.Int64
	for i := range 12 {
		clients.Go(func() {
			random := rand.New(rand.NewPCG(12, uint64(i)))
			for time.Now().Before(until) {
				word := fmt.Sprintf("<%d>", words.Add(1))
				c := call{path: "/" + [...]string{"small", "small", "large", "stream", "file"}[random.IntN(5)] + "/" + word}
				if random.IntN(4) == 0 {
					c.method, c.body = "POST", strings.Repeat(word, 1+random.IntN(30_000))
				}
				if m.askWhose(c, word, random.IntN(8) == 0) {
					whole.Add(1)
				}
			}
		})
	}
	clients.Go(func() { m.trouble(until) })
	clients.Wait()
	t.Logf("%d requests, %d whole answers, %d workers", words.Load(), whole.Load(), m.app.(*app).Status().Launched)
	if whole.Load() < 100 {
		t.Error("hardly anything was answered")
	}
	testkit.Eventually(t, "all workers to be idle", func() bool {
		workers := m.app.(*app).Status().Workers
		for _, w := range workers {
			if w.State != "ready" || w.Inflight > 0 {
				return false
			}
		}
		return len(workers) == 3
	})
}

// trouble stops, continues and kills workers.
func (m *mounted) trouble(until time.Time) {
	random := rand.New(rand.NewPCG(13, 0))
	for time.Now().Before(until) {
		for _, w := range m.app.(*app).Status().Workers {
			if w.PID == 0 || w.State == "starting" || random.IntN(3) > 0 {
				continue
			}
			if random.IntN(15) == 0 {
				_ = syscall.Kill(w.PID, syscall.SIGKILL) // it may have gone
				continue
			}
			_ = syscall.Kill(w.PID, syscall.SIGSTOP)
			time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
			_ = syscall.Kill(w.PID, syscall.SIGCONT)
		}
		time.Sleep(time.Duration(random.IntN(20)) * time.Millisecond)
	}
}

// askWhose makes one request, and reports whether its whole answer arrived.
func (m *mounted) askWhose(c call, word string, leaves bool) bool {
	ctx, cancel := context.WithTimeout(m.t.Context(), testkit.Patience)
	defer cancel()
	r := m.doContext(ctx, c, func(string) {
		if leaves {
			cancel()
		}
	})
	if got := r.headers.Get("x-word"); got != word && r.status == 200 {
		m.t.Errorf("%s gets the headers of %q", word, got)
	}
	times := len(r.body)/len(word) + 1
	if !strings.HasPrefix(strings.Repeat(word, times), r.body) {
		m.t.Errorf("%s gets %.60q", word, r.body)
	}
	if !r.ended || r.status != 200 {
		return false
	}
	if c.method == "POST" && r.body != c.body {
		m.t.Errorf("%s gets %d bytes of its %d", word, len(r.body), len(c.body))
	}
	return true
}
