package psgi

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/pool"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// statusCode returns the status that the server would answer.
func (r *result) statusCode() int {
	var failed *pagi.StatusError
	if errors.As(r.err, &failed) {
		return failed.Status
	}
	return r.status
}

// A worker over its time limit that ignores TERM is killed with its children, and other requests do
// not notice.
func TestRequestTimeLimit(t *testing.T) {
	if testing.Short() {
		t.Skip("it waits for the grace between TERM and KILL")
	}
	pids := filepath.Join(t.TempDir(), "pids")
	m := mount(t, PSGI{Processes: worker.Processes{Workers: 2}, Limits: pool.Limits{RequestTimeout: time.Second}, Code: `
		sub {
			if ($_[0]{PATH_INFO} eq '/deaf') {
				$SIG{TERM} = 'IGNORE';
				my $child = fork;
				if ($child) {
					open my $out, '>', '` + pids + `.new' or die; print $out "$$ $child"; close $out;
					rename '` + pids + `.new', '` + pids + `';
				}
				sleep 60 while 1;
			}
			[200, [], [$$]];
		}`})
	deaf := make(chan *result, 1)
	began := time.Now()
	go func() { deaf <- m.do(call{method: "POST", path: "/deaf"}) }()
	for time.Since(began) < 1500*time.Millisecond { // before, while and after it is given up
		if r := m.get("/"); r.statusCode() != 200 {
			t.Fatalf("another request: %+v", r)
		}
	}
	if r := testkit.Await(t, deaf); r.statusCode() != 504 {
		t.Errorf("%+v", r)
	}
	text, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			t.Fatal(err)
		}
		testkit.Eventually(t, "process "+field+" to be gone", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) })
	}
	m.log.WaitFor(t, "a worker is killed", `request="POST /deaf"`, "no sign of life for 1s")
}

// A GET that ends its worker ends only one, unless the option allows another try.
func TestRequestThatEndsItsWorker(t *testing.T) {
	for retry, launched := range map[string]int{"": 3, "off": 3, "safe": 4} {
		t.Run("retry "+retry, func(t *testing.T) {
			m := mount(t, PSGI{Processes: worker.Processes{Workers: 2}, Limits: pool.Limits{Retry: retry}, Code: `sub { kill KILL => $$ if $_[0]{PATH_INFO} eq '/poison'; [200, [], ['served']] }`})
			if r := m.get("/poison"); r.statusCode() != 502 {
				t.Errorf("%+v", r)
			}
			p := m.app.(*app).pool
			testkit.Eventually(t, "two workers", func() bool {
				status := p.Status()
				return status.Launched >= launched && len(status.Workers) == 2
			})
			if r := m.get("/"); r.body != "served" || p.Status().Launched != launched {
				t.Errorf("%+v, %d workers were started, want %d", r, p.Status().Launched, launched)
			}
		})
	}
}

// An application that cannot be started any more: 503 at once, with the time of the
// next attempt, and Perl's words once.
func TestNoWorkerCanBeStarted(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken")
	m := mount(t, PSGI{Code: "die qq(no database\\n) if -e '" + broken + "'; sub { kill KILL => $$ if $_[0]{PATH_INFO} eq '/end'; [200, [], ['served']] }"})
	writeFile(t, broken, "")
	if r := m.do(call{method: "POST", path: "/end"}); r.statusCode() != 502 {
		t.Errorf("%+v", r)
	}
	m.log.WaitFor(t, "level=ERROR", "no worker can be started: requests are answered 503")
	began := time.Now()
	r := m.get("/")
	var failed *pagi.StatusError
	if !errors.As(r.err, &failed) || failed.Status != 503 || time.Since(began) > time.Second {
		t.Fatalf("%+v after %v", r, time.Since(began))
	}
	if seconds, err := strconv.Atoi(failed.Headers.Get("retry-after")); err != nil || seconds < 1 || seconds > 30 {
		t.Errorf("Retry-After: %q", failed.Headers.Get("retry-after"))
	}
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "it to serve again", func() bool { return m.get("/").body == "served" })
	if n := strings.Count(m.log.String(), "no database"); n > 3 { // the words are also the worker's own output, at debug level
		t.Errorf("told %d times", n)
	}
}

// A mount that is flooded up to its queue's limit neither slows nor fails another.
func TestMountsDoNotDisturbOneAnother(t *testing.T) {
	gate := filepath.Join(t.TempDir(), "gate")
	flooded := mount(t, PSGI{Name: "/flooded", Limits: pool.Limits{QueueSize: 5}, Code: "sub { select undef, undef, undef, 0.01 while !-e '" + gate + "'; [200, [], ['late']] }"})
	quiet := mount(t, PSGI{Name: "/quiet", Limits: pool.Limits{QueueSize: 5}, Code: "sub { [200, [], ['quick']] }"})
	results := make(chan int, 20)
	var clients sync.WaitGroup
	for range 20 {
		clients.Go(func() { results <- flooded.do(call{method: "POST", path: "/"}).statusCode() })
	}
	for range 14 { // one runs, five wait
		if status := testkit.Await(t, results); status != 503 {
			t.Errorf("over the limit: %d", status)
		}
	}
	began := time.Now()
	for range 200 {
		if r := quiet.get("/"); r.body != "quick" || r.statusCode() != 200 {
			t.Fatalf("the other mount: %+v", r)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("200 requests to the other mount took %v", took)
	}
	writeFile(t, gate, "")
	clients.Wait()
	close(results)
	var rest []int
	for status := range results {
		rest = append(rest, status)
	}
	if fmt.Sprint(rest) != "[200 200 200 200 200 200]" {
		t.Errorf("those within the limit: %v", rest)
	}
}
