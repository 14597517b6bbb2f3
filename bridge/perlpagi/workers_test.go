package perlpagi_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/perlpagi"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// closed returns how a WebSocket has ended.
func closed(err error) *engine.WebSocketEnd {
	var end *engine.WebSocketEnd
	if errors.As(err, &end) {
		return end
	}
	return nil
}

func two() worker.Processes { return worker.Processes{Workers: 2} }

func (m *mounted) status() status.Backend {
	return m.app.(interface{ Status() status.Backend }).Status()
}

func (m *mounted) reload(t *testing.T) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), testkit.Patience)
	defer cancel()
	return m.app.(interface{ Reload(context.Context) error }).Reload(ctx)
}

// idle waits until no scope is open.
func idle(t *testing.T, m *mounted) {
	t.Helper()
	testkit.Eventually(t, "no scope is open", func() bool { return m.status().Running == 0 })
}

// Each worker has a lifespan of its own, with a startup and a shutdown.
func TestWorkersHaveTheirLifespans(t *testing.T) {
	t.Parallel()
	pids := map[string]bool{}
	shutdown := filepath.Join(t.TempDir(), "link")
	t.Run("run", func(t *testing.T) {
		m := mount(t, perlpagi.PAGI{App: "http.pl", Processes: two(), Env: map[string]string{"SCRATCH": filepath.Dir(shutdown)}})
		testkit.Eventually(t, "both workers answer", func() bool {
			pids[m.Get("/pid").Text()] = true
			return len(pids) == 2
		})
	})
	text, err := os.ReadFile(filepath.Join(filepath.Dir(shutdown), "shutdown"))
	if err != nil {
		t.Fatal(err)
	}
	for _, pid := range strings.Fields(string(text)) {
		if !pids[pid] {
			t.Errorf("process %s was shut down, the workers were %v", pid, pids)
		}
		delete(pids, pid)
	}
	if len(pids) > 0 {
		t.Errorf("no shutdown: %v", pids)
	}
}

func TestStartups(t *testing.T) {
	t.Parallel()
	for way, want := range map[string]string{
		"ok":              "way=ok",
		"slow":            "way=slow",
		"return":          "",
		"die":             "",
		"die-later":       "way=die-later",
		"shutdown-failed": "way=shutdown-failed",
	} {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			m := mount(t, perlpagi.PAGI{App: "lifespan.pl", Env: map[string]string{"STARTUP": way}})
			expect(t, m.Get("/"), 200, want)
			switch way {
			case "die":
				m.log.WaitFor(t, "level=INFO", "the application has no lifespan", "no lifespan here")
			case "die-later":
				m.log.WaitFor(t, "level=ERROR", "dead after the startup")
			}
		})
	}
}

// start starts an application that may fail to.
func start(t *testing.T, o perlpagi.PAGI) error {
	t.Helper()
	needs(t, "IO::Async::Loop", "Future::AsyncAwait")
	var log testkit.Log
	o.Logger, o.Workers = log.Logger(), 1
	app, err := o.Build()
	if err != nil {
		return err
	}
	run, err := lifespan.Start(t.Context(), app, &pagi.Scope{Type: pagi.TypeLifespan})
	if err != nil {
		return err
	}
	if err := run.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	return nil
}

func TestStartsThatFail(t *testing.T) {
	t.Parallel()
	// A perl without IO::Async: the directory has a module of that name that cannot be loaded.
	without := testkit.Tree(t, map[string]string{"IO/Async/Loop.pm": "die qq{not installed\\n};"})
	for name, c := range map[string]struct {
		options perlpagi.PAGI
		want    string
	}{
		"lifespan.startup.failed":         {perlpagi.PAGI{App: "testdata/lifespan.pl", Env: map[string]string{"STARTUP": "failed"}}, "no database"},
		"an exception while it is loaded": {perlpagi.PAGI{App: "testdata/lifespan.pl", Env: map[string]string{"STARTUP": "die-loading"}}, "STARTUP=die-loading"},
		"a PSGI application":              {perlpagi.PAGI{Code: "sub { [200, [], ['hello']] }"}, "It looks like a PSGI application: serve it with --psgi"},
		"no application":                  {perlpagi.PAGI{Code: "7"}, "it returned '7'"},
		"no IO::Async":                    {perlpagi.PAGI{App: "testdata/plain.pl", Lib: []string{without}}, "apt install libio-async-perl"},
		"no such loop":                    {perlpagi.PAGI{App: "testdata/plain.pl", Loop: "NoSuch"}, "IO::Async::Loop::NoSuch"},
		"a module without its arguments":  {perlpagi.PAGI{Module: "Args", Lib: []string{"testdata/lib"}}, "text is missing"},
		"no such module":                  {perlpagi.PAGI{Module: "No::Such::Module"}, "No::Such::Module"},
		"no such file":                    {perlpagi.PAGI{App: "testdata/no-such.pl"}, "no such file"},
		"two applications":                {perlpagi.PAGI{App: "testdata/http.pl", Module: "Args"}, "exactly one of app, module and code"},
		"arguments of a file":             {perlpagi.PAGI{App: "testdata/http.pl", Args: map[string]string{"a": "b"}}, "only a module does"},
		"another specification":           {perlpagi.PAGI{App: "testdata/http.pl", Spec: "0.2"}, "spec"},
		"another order":                   {perlpagi.PAGI{App: "testdata/http.pl", EventOrder: "loose"}, "event_order"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := start(t, c.options); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}

func TestOtherForms(t *testing.T) {
	t.Parallel()
	expect(t, mount(t, perlpagi.PAGI{App: "plain.pl"}).Get("/"), 200, "plain")
	m := mount(t, perlpagi.PAGI{Module: "Args", Lib: []string{"testdata/lib"}, Args: map[string]string{"text": "é", "more": "1"}})
	expect(t, m.Get("/"), 200, "more=1 text=é")
	m = mount(t, perlpagi.PAGI{Code: "use Future::AsyncAwait; async sub { my ($scope, $receive, $send) = @_; await $send->({ type => 'http.response.start', status => 204 }); await $send->({ type => 'http.response.body' }) }"})
	if r := m.Get("/"); r.Status != 204 || r.Err != nil {
		t.Errorf("%+v", r)
	}
}

// Specification 0.1 is told by what the application uses.
func TestSpecificationOfTheSeed(t *testing.T) {
	t.Parallel()
	m := mount(t, perlpagi.PAGI{App: "seed.pl"})
	r := m.Post("/", pagitest.Body("body"), pagitest.AcceptEvents())
	expect(t, r, 201, "http.request POST bodyHASH")
	if r.Header("x-spec") != "0.1" {
		t.Errorf("%v", r.Headers)
	}
	s := m.Events("/")
	if e, ok := s.Next(); !ok || e.Data != "nothing yet" {
		t.Errorf("%+v", e)
	}
	if r := s.Finish(); r.Err != nil {
		t.Error(r.Err)
	}
}

func TestPreload(t *testing.T) {
	t.Parallel()
	m := mount(t, perlpagi.PAGI{App: "http.pl", Processes: worker.Processes{Workers: 2, Preload: true}})
	expect(t, m.Get("/later"), 200, m.Get("/later").Text())
	pids := map[string]bool{}
	testkit.Eventually(t, "both workers answer", func() bool {
		pids[m.Get("/pid").Text()] = true
		return len(pids) == 2
	})
	if s := m.status(); len(s.Zygotes) != 1 {
		t.Errorf("%+v", s)
	}
}

// Another loop works below IO::Async, and code for it runs, too.
func TestAnotherLoop(t *testing.T) {
	t.Parallel()
	needs(t, "IO::Async::Loop::Mojo", "Mojo::IOLoop")
	m := mount(t, perlpagi.PAGI{Loop: "Mojo", Code: `
		use Future::AsyncAwait;
		use Mojo::IOLoop;
		async sub {
			my ($scope, $receive, $send) = @_;
			die "Unsupported scope type: $scope->{type}\n" if $scope->{type} ne 'http';
			my $ticked = IO::Async::Loop->new->new_future;
			Mojo::IOLoop->timer(0.01 => sub { $ticked->done('ticked') });
			my $text = await $ticked;
			await $send->({ type => 'http.response.start', status => 200 });
			await $send->({ type => 'http.response.body', body => $text . ' on ' . ref IO::Async::Loop->new });
		}`})
	expect(t, m.Get("/"), 200, "ticked on IO::Async::Loop::Mojo")
}

// A reload brings in new workers. The streams of the old ones are closed properly once their time is over.
func TestReloadEndsStreams(t *testing.T) {
	t.Parallel()
	m := mount(t, perlpagi.PAGI{App: "websocket.pl", StreamGrace: 100 * time.Millisecond})
	ws := m.WebSocket("/")
	if !ws.Accepted {
		t.Fatal(ws.Response)
	}
	if err := m.reload(t); err != nil {
		t.Fatal(err)
	}
	if err := ws.SendText("still there"); err != nil {
		t.Fatal(err)
	}
	if got, err := ws.ReceiveText(); err != nil || got != "echo still there of 11" {
		t.Errorf("%q %v", got, err)
	}
	ended(t, ws, 1012, "")
	testkit.Eventually(t, "one worker is left", func() bool { return len(m.status().Workers) == 1 })

	m = mount(t, perlpagi.PAGI{App: "sse.pl", StreamGrace: 50 * time.Millisecond})
	s := m.Events("/wait")
	if _, ok := s.Next(); !ok {
		t.Fatal("no event")
	}
	if err := m.reload(t); err != nil {
		t.Fatal(err)
	}
	if e, ok := s.Next(); ok {
		t.Errorf("%+v", e)
	}
	if r := s.Finish(); r.Err != nil {
		t.Errorf("the stream is cut: %v", r.Err)
	}
}

// A startup that fails leaves the old workers where they are.
func TestReloadThatFails(t *testing.T) {
	t.Parallel()
	way := filepath.Join(t.TempDir(), "way")
	set := func(text string) {
		if err := os.WriteFile(way, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	set("ok")
	m := mount(t, perlpagi.PAGI{App: "lifespan.pl", Env: map[string]string{"STARTUP": "file:" + way}})
	set("failed")
	if err := m.reload(t); err == nil || !strings.Contains(err.Error(), "no database") {
		t.Errorf("%v", err)
	}
	expect(t, m.Get("/"), 200, "way=ok")
	set("new")
	if err := m.reload(t); err != nil {
		t.Fatal(err)
	}
	expect(t, m.Get("/"), 200, "way=new")
}

func TestRecycling(t *testing.T) {
	t.Parallel()
	m := mount(t, perlpagi.PAGI{App: "http.pl", Processes: worker.Processes{Workers: 1, MaxRequests: 4}, Limits: worker.Limits{MaxRequestsJitter: -1}})
	seen := map[string]bool{}
	testkit.Eventually(t, "three workers one after another", func() bool {
		r := m.Get("/pid")
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		seen[r.Text()] = true
		return len(seen) >= 3
	})
}

// Requests wait while the only worker is started again, and are not refused.
func TestRequestsWaitForAWorker(t *testing.T) {
	t.Parallel()
	m := mount(t, perlpagi.PAGI{App: "http.pl"})
	pid, err := strconv.Atoi(m.Get("/pid").Text())
	if err != nil {
		t.Fatal(err)
	}
	process, err := os.FindProcess(pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Kill(); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the worker is gone", func() bool {
		for _, w := range m.status().Workers {
			if w.PID == pid && (w.State == "ready" || w.State == "busy") {
				return false
			}
		}
		return true
	})
	expect(t, m.Get("/hello"), 200, "hello\n")
}

func TestTooManyScopesAreRefused(t *testing.T) {
	t.Parallel()
	m := mount(t, perlpagi.PAGI{App: "websocket.pl", MaxScopes: 2, QueueTimeout: time.Millisecond})
	open := []*pagitest.WebSocket{m.WebSocket("/"), m.WebSocket("/")}
	r := m.WebSocket("/").Response
	var refused *pagi.StatusError
	if !errors.As(r.Err, &refused) || refused.Status != 503 || refused.Headers.Get("retry-after") == "" {
		t.Errorf("%+v", r)
	}
	for _, ws := range open {
		if !ws.Accepted {
			t.Error(ws.Response)
		}
		_ = ws.Finish()
	}
}

// Streams are spread over the workers, and a handler that blocks one delays none of the other.
func TestABlockedWorkerDelaysNoOther(t *testing.T) {
	t.Parallel()
	m := mount(t, perlpagi.PAGI{App: "http.pl", Processes: two()})
	blocked := make(chan string, 1)
	var running sync.WaitGroup
	defer running.Wait()
	running.Go(func() { blocked <- pagitest.New(m.app).Get("/block").Text() })
	testkit.Eventually(t, "the request is running", func() bool { return m.status().Running == 1 })
	begin := time.Now()
	other := ""
	for range 20 {
		other = m.Get("/pid").Text()
	}
	if took := time.Since(begin); took > time.Second {
		t.Errorf("20 requests took %v", took)
	}
	if first := testkit.Await(t, blocked); first == other {
		t.Error("the worker that blocks has answered meanwhile")
	}
}

// A client that does not read stops the application, and the transport tells it.
func TestBackPressure(t *testing.T) {
	t.Parallel()
	m := mount(t, perlpagi.PAGI{App: "flow.pl"})
	x := m.Begin("GET", "/pour", pagitest.SlowReader(65536, 16384))
	testkit.Eventually(t, "the application waits", func() bool {
		return strings.Contains(m.Get("/").Text(), "high=1 ")
	})
	n := 0
	for ev, ok := x.Next(); ok; ev, ok = x.Next() {
		if body, is := ev.(pagi.HTTPResponseBody); is {
			n += len(body.Body)
		}
	}
	if r := x.Finish(); r.Err != nil || n != 256*16384 {
		t.Errorf("%d bytes, %v", n, r.Err)
	}
	got := m.Get("/").Text()
	if !strings.Contains(got, "marks=16384/64512") || strings.Contains(got, "drain=0") {
		t.Errorf("%s", got)
	}
}

// An idle WebSocket takes little memory in the worker.
func TestMemoryOfIdleWebSockets(t *testing.T) {
	m := mount(t, perlpagi.PAGI{App: "websocket.pl"})
	resident := func() int64 {
		s := m.status()
		worker.Resident(&s)
		if len(s.Workers) != 1 || s.Workers[0].Resident == 0 {
			t.Skip("the system does not tell the memory of a process")
		}
		return s.Workers[0].Resident
	}
	const few, many = 100, 2000
	var open []*pagitest.WebSocket
	dial := func(n int) {
		for len(open) < n {
			ws := m.WebSocket("/")
			if !ws.Accepted {
				t.Fatal(ws.Response)
			}
			open = append(open, ws)
		}
	}
	dial(few)
	before := resident()
	dial(many)
	each := (resident() - before) / (many - few)
	t.Logf("%d bytes for each WebSocket", each)
	if each > 16<<10 {
		t.Errorf("a WebSocket takes %d bytes", each)
	}
	for _, ws := range open {
		ws.Disconnect(pagi.ReasonClientClosed)
		_ = ws.Finish() // that the client has left
	}
	idle(t, m)
}
