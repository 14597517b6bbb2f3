package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/pool"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// chaos is one way in which testdata/apps/chaos.psgi misbehaves.
type chaos struct {
	way    string
	status int
	body   string   // the answer contains it
	log    []string // one line of the log has all of it
	then   string   // and another one has this
	memory int      // each process may have so many KiB of address space; 0: no limit
	// timeout is the limit for a request; 0 means a minute.
	timeout time.Duration
	// late says that the worker ends only after its answer. It may have read another request by
	// then. With retry: safe, that one is answered by another worker if its method is safe.
	late bool
}

// died is the log line of a worker that has ended in a request.
func died(way, exit string) []string {
	return []string{"level=ERROR", "the worker died in a request", "mount=/", "worker=", "pid=", "POST /" + way, exit}
}

// timedOut is the log line of a worker that was too slow.
func timedOut(way string) []string {
	return []string{"level=ERROR", "a worker is killed", "mount=/", "worker=", "pid=", "POST /" + way + " ran into its time limit"}
}

func failed(status int, what string) []string {
	return []string{"level=ERROR", "application failed", fmt.Sprintf("%d: psgi: %s", status, what)}
}

const short = 1500 * time.Millisecond

var chaosCases = []chaos{
	{way: "kill", status: 502, log: died("kill", "signal: killed")},
	{way: "term", status: 502, log: died("term", "signal: terminated")},
	{way: "group", status: 502, log: died("group", "signal: killed")},
	{way: "exit", status: 502, log: died("exit", "exit status 0")},
	{way: "_exit", status: 502, log: died("_exit", "exit status 3")},
	{way: "end", status: 502, log: died("end", "exit status"), then: "in END"},
	{way: "exec", status: 502, log: died("exec", "exit status 0")},
	{way: "become", status: 502, log: died("become", "signal: terminated")},
	{way: "segv", status: 502, log: died("segv", "signal: segmentation fault")},
	{way: "stopped", status: 504, timeout: short, log: timedOut("stopped")},
	{way: "hang", status: 504, timeout: short, log: timedOut("hang")},
	{way: "spin", status: 504, timeout: short, log: timedOut("spin")},
	{way: "deaf", status: 504, timeout: short, log: timedOut("deaf")},
	{way: "leak", status: 200, body: "kept"},
	{way: "hog", status: 502, memory: 300_000, log: died("hog", "exit status 1"), then: "Out of memory"},
	{way: "recursion", status: 502, memory: 300_000, log: died("recursion", "exit="), then: "Out of memory"}, // it may take so long to end that it is told to
	{way: "closes", status: 502, log: died("closes", "exit status 0")},
	{way: "garbage", status: 502, log: []string{"level=ERROR", "the worker broke the protocol", "worker=", "pid="}},
	{way: "streams", status: 200, body: "read nothing", log: []string{"printed by the application", "mount=/", "worker="}, then: "warned by the application"},
	{way: "flood", status: 200, body: "said", log: []string{"msg=yyy", "mount=/", "worker="}}, // more than the log may take
	{way: "standard", status: 200, body: "closed"},
	{way: "child", status: 200, body: "forked"},
	{way: "orphan", status: 502, log: died("orphan", "signal: killed")},
	{way: "both", status: 200, body: "parent"},
	{way: "object", status: 500, log: failed(500, "died with an object of class Chaos::Trouble: it is broken")},
	{way: "hash", status: 500, log: failed(500, "died with")},
	{way: "stubborn", status: 500, log: failed(500, "died with an object of class Chaos::Stubborn")},
	{way: "long", status: 500, log: failed(500, "zzz")},
	{way: "nothing", status: 500, log: failed(500, "Died at ")},
	{way: "alarmed", status: 500, log: failed(500, "alarmed: time is up")},
	{way: "globals", status: 200, body: "changed"},
	{way: "late", status: 200, body: "set", late: true, log: []string{"the worker", "mount=/", "worker=", "exit=\"signal: alarm clock\""}},
}

// Whatever an application does to its process, its request gets an answer, the log says what
// happened, and no other request is affected.
func TestChaos(t *testing.T) {
	for _, c := range chaosCases {
		for kind, preload := range map[string]bool{"loaded": false, "forked": true} {
			t.Run(c.way+"/"+kind, func(t *testing.T) {
				t.Parallel()
				c.run(t, preload)
			})
		}
	}
}

func (c chaos) run(t *testing.T, preload bool) {
	dir := t.TempDir()
	t.Cleanup(func() { testkit.NoneLeft(t, dir) }) // when the gateway has ended
	g := serveProgram(t, program, "-c", siteFile(t, fmt.Sprintf(`
listen: ["127.0.0.1:0"]
mounts:
  - path: /
    psgi: %s
    perl: %s
    dir: %s
    workers: 2
    preload: %v
    request_timeout: %s
    retry: %s
`, testdata("chaos.psgi"), limitedPerl(t, c.memory), dir, preload, max(c.timeout, time.Minute*btoi(c.timeout == 0)), c.retry())))
	if res, body := g.get("/good"); res.StatusCode != 200 {
		t.Fatalf("at first: %d %s", res.StatusCode, body)
	}
	client.CloseIdleConnections()
	before := testkit.Descriptors(t, g.Process.Pid)

	crowd := c.crowd(t, g)
	crowd.wait(t, 20)
	res, body := g.request("POST", "/"+c.way, "", nil)
	if res.StatusCode != c.status || !strings.Contains(body, c.body) {
		t.Errorf("%d %q, want %d with %q", res.StatusCode, body, c.status, c.body)
	}
	crowd.wait(t, 50)
	if c.log != nil {
		g.Log.WaitFor(t, c.log...)
	}
	if c.then != "" {
		g.Log.WaitFor(t, c.then)
	}
	crowd.wait(t, 50)
	crowd.leave()
	c.check(t, g)

	client.CloseIdleConnections()
	testkit.Eventually(t, "the descriptors to be closed", func() bool { return testkit.Descriptors(t, g.Process.Pid) <= before })
}

func (c chaos) retry() string {
	if c.late {
		return pool.RetrySafe
	}
	return pool.RetryUnread
}

// check sends requests of every kind afterwards, which the workers must answer as before.
func (chaos) check(t *testing.T, g *gateway) {
	for range 10 {
		if res, body := g.get("/good"); res.StatusCode != 200 || body != "good" {
			t.Errorf("afterwards: %d %q", res.StatusCode, body)
		}
		for _, size := range []int{0, 1, 1 << 10, 300 << 10} { // the last one comes in a file
			want := fmt.Sprintf("POST %d", size)
			if res, body := g.request("POST", "/echo", "", strings.NewReader(strings.Repeat("x", size))); res.StatusCode != 200 || body != want {
				t.Errorf("afterwards: %d %q, want %q", res.StatusCode, body, want)
			}
		}
	}
}

func btoi(b bool) time.Duration {
	if b {
		return 1
	}
	return 0
}

// limitedPerl returns a perl that may have at most memory KiB of memory.
func limitedPerl(t *testing.T, memory int) string {
	if memory == 0 {
		return "perl"
	}
	script := fmt.Sprintf("#!/bin/sh\nulimit -v %d\nexec perl \"$@\"\n", memory)
	return testkit.Tree(t, map[string]string{"perl": script}) + "/perl"
}

// crowd is a number of clients that ask all the time for pages that work.
type crowd struct {
	served atomic.Int64
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func (c chaos) crowd(t *testing.T, g *gateway) *crowd {
	ctx, cancel := context.WithCancel(t.Context())
	crowd := &crowd{cancel: cancel}
	methods := []string{"GET", "POST", "HEAD"}
	if c.late {
		methods = []string{"GET", "HEAD"}
	}
	for i := range 4 {
		crowd.wg.Go(func() {
			transport := &http.Transport{}
			defer transport.CloseIdleConnections()
			for n := i; ctx.Err() == nil; n++ {
				if err := ask(ctx, transport, methods[n%len(methods)], g.URL+"/good"); err != nil && ctx.Err() == nil {
					t.Errorf("a request that had nothing to do with it: %v", err)
					return
				}
				crowd.served.Add(1)
			}
		})
	}
	t.Cleanup(crowd.leave)
	return crowd
}

// patience is more than a request should have to wait because of its neighbours,
// and less than short.
const patience = 1200 * time.Millisecond

func ask(ctx context.Context, transport *http.Transport, method, url string) error {
	req, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return err
	}
	begun := time.Now()
	res, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(res.Body)
	switch took := time.Since(begun); {
	case err != nil:
		return err
	case res.StatusCode != 200 || string(body) != "good" && method != "HEAD":
		return fmt.Errorf("%s: %s %q", method, res.Status, body)
	case took > patience:
		return fmt.Errorf("%s took %v", method, took)
	}
	return nil
}

// wait waits until n more requests have been served.
func (c *crowd) wait(t *testing.T, n int64) {
	t.Helper()
	n += c.served.Load()
	testkit.Eventually(t, "the others to be served", func() bool { return c.served.Load() >= n })
}

// leave ends the clients, once.
func (c *crowd) leave() {
	c.cancel()
	c.wg.Wait()
}
