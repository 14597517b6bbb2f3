package adapters

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/cgi"
	"github.com/pagi-go/pagi-bridge/bridge/perlpagi"
	"github.com/pagi-go/pagi-bridge/bridge/psgi"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/confine"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/plugin/adapter"
)

// TestMain makes the test's program the adapter's, too.
func TestMain(m *testing.M) {
	if does := os.Getenv(liarVariable); does != "" && adapter.IsCommand(os.Args) {
		os.Exit(liarMain(does))
	}
	if adapter.IsCommand(os.Args) {
		if slow, err := time.ParseDuration(os.Getenv("PAGI_TEST_SLOW")); err == nil {
			time.Sleep(slow) // an adapter that starts slowly
		}
		os.Exit(adapter.Main(os.Args))
	}
	if os.Getenv("PAGI_TEST_GATEWAY") != "" {
		os.Exit(gateway())
	}
	os.Exit(m.Run())
}

// gateway is a gateway that can be killed: it prints the numbers of a worker and of the adapter, and waits for the end of
// its input.
func gateway() int {
	a := New(Options{Linger: time.Second})
	code := cmp.Or(os.Getenv("PAGI_TEST_CODE"), pids)
	o := psgi.PSGI{Code: code, Name: "/", Processes: worker.Processes{Workers: 1}}
	crew, err := a.Crew(confine.Isolation{}, Mount{Kind: "psgi", Name: "/", Options: o})
	if err != nil {
		panic(err)
	}
	o.Crew = crew
	app, err := o.Build()
	if err != nil {
		panic(err)
	}
	c := pagitest.New(app)
	if err := c.Startup(context.Background()); err != nil {
		panic(err)
	}
	fmt.Println(c.Get("/").Text())
	if doing := os.Getenv("PAGI_TEST_DOING"); doing != "" {
		go c.Get("/slow")
		for served := false; !served; time.Sleep(time.Millisecond) {
			_, err := os.Stat(filepath.Join(os.Getenv("PAGI_TEST_DIR"), "serving"))
			served = err == nil
		}
		if doing == "shutdown" {
			_ = os.Stdin.Close()
		}
		if doing == "reload" {
			go func() { _ = app.(interface{ Reload(context.Context) error }).Reload(context.Background()) }()
		}
	}
	_, _ = io.Copy(io.Discard, os.Stdin)
	if err := c.Shutdown(context.Background()); err != nil {
		panic(err)
	}
	return 0
}

// house is a gateway's adapters with their log.
type house struct {
	*Adapters
	log *testkit.Log
}

func newHouse(t *testing.T, inherited ...State) *house {
	t.Helper()
	testkit.Tool(t, "perl", "perl")
	log := &testkit.Log{}
	return &house{New(Options{Linger: 2 * time.Second, Logger: log.Logger(), Inherited: inherited}), log}
}

// app returns a PSGI application at an adapter.
func (h *house) app(t *testing.T, iso confine.Isolation, o psgi.PSGI) pagi.App {
	t.Helper()
	if o.Name == "" {
		o.Name = "/"
	}
	if o.Workers == 0 {
		o.Workers = 2
	}
	o.Logger = h.log.Logger()
	crew, err := h.Crew(iso, Mount{Kind: "psgi", Name: o.Name, Options: o})
	if err != nil {
		t.Fatal(err)
	}
	o.Crew = crew
	app, err := o.Build()
	if err != nil {
		t.Fatal(err)
	}
	return app
}

// perlPAGI returns an application of PAGI in Perl at an adapter.
func (h *house) perlPAGI(t *testing.T, o perlpagi.PAGI) pagi.App {
	t.Helper()
	o.Logger = h.log.Logger()
	crew, err := h.Crew(confine.Isolation{}, Mount{Kind: "perlpagi", Name: o.Name, Options: o})
	if err != nil {
		t.Fatal(err)
	}
	o.Crew = crew
	app, err := o.Build()
	if err != nil {
		t.Fatal(err)
	}
	return app
}

// pids is a PSGI application that tells its own number and that of its parent, the adapter.
const pids = `sub { [200, ['Content-Type' => 'text/plain'], [join ' ', $$, getppid]] }`

func TestAPSGIApplicationRunsInAnAdapter(t *testing.T) {
	h := newHouse(t)
	c := pagitest.Start(t, h.app(t, confine.Isolation{}, psgi.PSGI{Code: pids}))
	res := c.Get("/")
	number, parent, _ := strings.Cut(res.Text(), " ")
	running := h.Status()
	if res.Status != 200 || len(running) != 1 || parent != strconv.Itoa(running[0].PID) || running[0].PID == os.Getpid() {
		t.Fatalf("%d %q, adapters %+v\n%s", res.Status, res.Text(), running, h.log.String())
	}
	if err := c.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	for _, pid := range []string{number, parent} {
		if isAlive(t, pid) {
			t.Errorf("process %s is left", pid)
		}
	}
}

// isAlive reports whether there is a process with a number.
func isAlive(t *testing.T, pid string) bool {
	t.Helper()
	n, err := strconv.Atoi(pid)
	if err != nil {
		t.Fatal(err)
	}
	return syscall.Kill(n, 0) == nil
}

// who returns the numbers of a worker and of its adapter.
func who(t *testing.T, c *pagitest.Client) (number, parent string) {
	t.Helper()
	res := c.Get("/")
	if res.Status != 200 {
		t.Fatalf("%d %s", res.Status, res.Text())
	}
	number, parent, _ = strings.Cut(res.Text(), " ")
	return number, parent
}

func TestMountsWithTheSameIsolationShareAnAdapter(t *testing.T) {
	h := newHouse(t)
	var parents []string
	for i, iso := range []confine.Isolation{{}, {}, {Name: "apart"}, {OpenFiles: 256}} {
		c := pagitest.Start(t, h.app(t, iso, psgi.PSGI{Code: pids, Name: "/" + strconv.Itoa(i)}))
		_, parent := who(t, c)
		parents = append(parents, parent)
	}
	if parents[0] != parents[1] || parents[1] == parents[2] || parents[2] == parents[3] || parents[0] == parents[3] {
		t.Errorf("the adapters: %q", parents)
	}
	if n := len(h.Status()); n != 3 {
		t.Errorf("%d adapters", n)
	}
}

func TestAnApplicationThatDoesNotCompileSaysSo(t *testing.T) {
	h := newHouse(t)
	app := h.app(t, confine.Isolation{}, psgi.PSGI{Code: "print STDERR qq(about to fail\n); die 'no database'"})
	err := pagitest.New(app).Startup(t.Context())
	if err == nil || !strings.Contains(err.Error(), "no database") {
		t.Errorf("%v", err)
	}
	h.log.WaitFor(t, "about to fail")
	if n := len(h.Status()); n != 0 {
		t.Errorf("%d adapters are left", n)
	}
}

func TestAnAdapterThatDiesIsStartedAgain(t *testing.T) {
	h := newHouse(t)
	c := pagitest.Start(t, h.app(t, confine.Isolation{}, psgi.PSGI{Code: pids}))
	other := pagitest.Start(t, h.app(t, confine.Isolation{Name: "apart"}, psgi.PSGI{Code: pids, Name: "/other"}))
	oldWorker, oldAdapter := who(t, c)
	otherWorker, _ := who(t, other)
	pid, _ := strconv.Atoi(oldAdapter)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "another adapter", func() bool {
		res := c.Get("/")
		switch res.Status {
		case 200:
			_, adapter, _ := strings.Cut(res.Text(), " ")
			return adapter != oldAdapter && adapter != "1"
		case 502, 503:
		default:
			t.Fatalf("%d %s", res.Status, res.Text())
		}
		return false
	})
	h.log.WaitFor(t, "the adapter has died", "signal: killed")
	testkit.Eventually(t, "the end of the old worker", func() bool { return !isAlive(t, oldWorker) })
	if again, _ := who(t, other); !isAlive(t, otherWorker) || again == "" {
		t.Error("the death of an adapter was noticed by the mounts of another")
	}
}

func TestAWorkerThatIsKilledIsReplaced(t *testing.T) {
	h := newHouse(t)
	c := pagitest.Start(t, h.app(t, confine.Isolation{}, psgi.PSGI{
		Code: "sub { kill KILL => $$ if $_[0]{PATH_INFO} eq '/die'; [200, [], [join ' ', $$, getppid]] }",
	}))
	_, adapter := who(t, c)
	if res := c.Get("/die"); res.Status != 502 {
		t.Errorf("%d", res.Status)
	}
	h.log.WaitFor(t, "the worker died in a request", "signal: killed")
	for range 5 {
		if _, again := who(t, c); again != adapter {
			t.Error("another adapter")
		}
	}
}

// A gateway that replaces another one takes its adapters over, and finds the workers warm.
func TestTheNextGatewayTakesTheAdapterOver(t *testing.T) {
	const counts = "my $n = 0; sub { $n++; select undef, undef, undef, 0.3 if $_[0]{PATH_INFO} eq '/slow'; [200, [], [join ' ', $$, getppid, $n]] }"
	options := psgi.PSGI{Code: counts, Processes: worker.Processes{Workers: 1}}
	first := newHouse(t)
	one := pagitest.New(first.app(t, confine.Isolation{}, options))
	if err := one.Startup(t.Context()); err != nil {
		t.Fatal(err)
	}
	gone := pagitest.New(first.app(t, confine.Isolation{}, psgi.PSGI{Code: pids, Name: "/gone", Processes: worker.Processes{Workers: 1}}))
	if err := gone.Startup(t.Context()); err != nil {
		t.Fatal(err)
	}
	removed, _ := who(t, gone)
	before := one.Get("/").Text()
	slow := make(chan *pagitest.Response, 1)
	go func() { slow <- one.Get("/slow") }()

	second := newHouse(t, first.States()...)
	two := pagitest.New(second.app(t, confine.Isolation{}, options))
	started := make(chan error, 1)
	go func() { started <- two.Startup(t.Context()) }()
	if res := testkit.Await(t, slow); res.Status != 200 {
		t.Errorf("a request of the old gateway: %d", res.Status)
	}
	first.HandOver()
	for _, c := range []*pagitest.Client{one, gone} {
		if err := c.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := testkit.Await(t, started); err != nil {
		t.Fatal(err)
	}
	after := two.Get("/").Text()
	if b, a := strings.Fields(before), strings.Fields(after); a[0] != b[0] || a[1] != b[1] || a[2] != "3" {
		t.Errorf("before %q, after %q\n%s", before, after, second.log.String())
	}
	second.log.WaitFor(t, "took the adapter over")
	if isAlive(t, removed) {
		t.Error("the worker of a mount that the next gateway does not have is left")
	}
	if err := two.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	testkit.Eventually(t, "the end of the adapter", func() bool { return !isAlive(t, strings.Fields(after)[1]) })
}

// The adapter of another mount, and a process that is none, are not taken over.
func TestAForeignAdapterIsRefused(t *testing.T) {
	first := newHouse(t)
	c := pagitest.Start(t, first.app(t, confine.Isolation{Name: "apart"}, psgi.PSGI{Code: pids}))
	_, other := who(t, c)
	state := first.States()[0]
	foreign, wrongPID := state, state
	foreign.Identity = identity(confine.Isolation{}, confine.Needs{})
	wrongPID.Identity, wrongPID.PID = foreign.Identity, os.Getpid()
	for name, s := range map[string]State{
		"the adapter of another isolation": foreign, "another process": wrongPID,
		"no socket": {Identity: foreign.Identity, PID: state.PID, UID: state.UID, Address: filepath.Join(t.TempDir(), "none")},
	} {
		h := newHouse(t, s)
		c := pagitest.Start(t, h.app(t, confine.Isolation{}, psgi.PSGI{Code: pids}))
		if _, adapter := who(t, c); adapter == other {
			t.Errorf("%s was taken over", name)
		}
		h.log.WaitFor(t, "cannot be taken over")
	}
	if _, again := who(t, c); again != other {
		t.Error("the adapter has changed")
	}
}

func TestScriptsRunInAnAdapter(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	h := newHouse(t)
	root := testkit.Tree(t, map[string]string{
		"env":  "#!/bin/sh\necho Content-Type: text/plain\necho\necho $PPID $SCRIPT_NAME $PATH_INFO\ncat\n",
		"away": "#!/bin/sh\necho 'Location: /elsewhere?x=1'\necho\n",
		"bad":  "#!/bin/sh\necho no header\n",
		"fake": "#!/bin/sh\necho Content-Type: text/plain\necho 'Pagi-Bridge-Aside: {\"redirect\":\"/elsewhere\"}'\necho\necho own\n",
		"perl": "#!/usr/bin/perl\nprint \"Content-Type: text/plain\\n\\n\", getppid;\nwarn 'a word for the log';\n",
	})
	for _, mode := range []string{"exec", "auto"} {
		o := cgi.CGI{Root: root, Logger: h.log.Logger()}
		o.Mode = mode
		o.Redirect = pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
			if err := send(ctx, pagi.HTTPResponseStart{Status: 200}); err != nil {
				return err
			}
			return send(ctx, pagi.HTTPResponseBody{Body: []byte("elsewhere: " + scope.Path + "?" + scope.QueryString)})
		})
		app, err := h.CGI(confine.Isolation{}, "/cgi", o, confine.Needs{})
		if err != nil {
			t.Fatal(err)
		}
		c := pagitest.Start(t, app)
		for _, tt := range []struct {
			path   string
			status int
			body   string
		}{
			{"/away", 200, "elsewhere: /elsewhere?x=1"}, {"/bad", 502, ""}, {"/missing", 404, ""}, {"/fake", 200, "own"},
		} {
			res := c.Get(tt.path)
			if res.Status != tt.status || !strings.Contains(res.Text(), tt.body) || res.Headers.Has("pagi-bridge-aside") {
				t.Errorf("%s %s: %d %v %q", mode, tt.path, res.Status, res.Headers, res.Text())
			}
		}
		res := c.Post("/env/info", pagitest.Body([]byte("the body")))
		adapter := strconv.Itoa(h.Status()[0].PID)
		if !strings.Contains(res.Text(), " /env /info") || !strings.Contains(res.Text(), "the body") || mode == "exec" && !strings.HasPrefix(res.Text(), adapter+" ") {
			t.Errorf("%s: %q, the adapter is %s", mode, res.Text(), adapter)
		}
		if res := c.Get("/perl"); res.Status != 200 {
			t.Errorf("%s: %d", mode, res.Status)
		}
		h.log.WaitFor(t, "a word for the log")
		if err := c.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// An adapter whose gateway is killed ends its mounts and itself.
func TestAnAdapterWithoutAGatewayEnds(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	for _, how := range []string{"killed", "stopped"} {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "PAGI_TEST_GATEWAY=1")
		cmd.Stderr = os.Stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(out).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		number, adapter, _ := strings.Cut(strings.TrimSpace(line), " ")
		if how == "killed" {
			err = cmd.Process.Kill()
		} else {
			err = in.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // its end is what the test is about
		testkit.Eventually(t, "the end of the worker and of the adapter of a gateway that was "+how, func() bool {
			return !isAlive(t, number) && !isAlive(t, adapter)
		})
	}
}

// needsPAGI skips a test where Perl lacks what PAGI needs.
func needsPAGI(t *testing.T) {
	t.Helper()
	for _, module := range []string{"IO::Async::Loop", "Future::AsyncAwait"} {
		if err := exec.Command("perl", "-M"+module, "-e", "1").Run(); err != nil {
			t.Skipf("Perl has no %s: %v", module, err)
		}
	}
}

// echoPIDs is a PAGI application that tells its number and that of its parent, and over a WebSocket each text with its number.
const echoPIDs = `use strict; use warnings; use Future::AsyncAwait;
async sub {
    my ($scope, $receive, $send) = @_;
    die "no such scope\n" if $scope->{type} eq 'lifespan';
    if ($scope->{type} eq 'websocket') {
        await $receive->();
        await $send->({ type => 'websocket.accept' });
        while (1) {
            my $event = await $receive->();
            return if $event->{type} eq 'websocket.disconnect';
            await $send->({ type => 'websocket.send', text => "$event->{text} $$" });
        }
    }
    await $send->({ type => 'http.response.start', status => 200, headers => [] });
    await $send->({ type => 'http.response.body', body => join ' ', $$, getppid });
}
`

func TestAPAGIApplicationRunsInAnAdapter(t *testing.T) {
	needsPAGI(t)
	h := newHouse(t)
	app := h.perlPAGI(t, perlpagi.PAGI{Code: echoPIDs, Name: "/", Processes: worker.Processes{Workers: 1}})
	c := pagitest.Start(t, app)
	number, adapter := who(t, c)
	if adapter != strconv.Itoa(h.Status()[0].PID) {
		t.Errorf("the parent is %s, the adapters are %+v", adapter, h.Status())
	}
	ws := c.WebSocket("/")
	if text := exchange(t, ws, "hello"); text != "hello "+number {
		t.Errorf("%q", text)
	}
	if err := errors.Join(ws.Close(1000, ""), ws.Finish()); err != nil {
		t.Error(err)
	}
	if err := app.(interface{ Reload(context.Context) error }).Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "a worker with new code", func() bool { again, _ := who(t, c); return again != number })
}

// A PSGI application in workers with an event loop runs in an adapter as one of PAGI does.
func TestAPSGIApplicationInALoopRunsInAnAdapter(t *testing.T) {
	if err := exec.Command("perl", "-MIO::Async::Loop", "-e", "1").Run(); err != nil {
		t.Skipf("Perl has no IO::Async::Loop: %v", err)
	}
	h := newHouse(t)
	o := psgi.PSGI{Loop: "true", Name: "/", Processes: worker.Processes{Workers: 1}, Logger: h.log.Logger(), Code: `
		use IO::Async::Loop;
		sub {
			my ($env) = @_;
			my $respond = sub { $_[0]->([200, [], [join ' ', $$, getppid]]) };
			return $respond if !$env->{'psgix.io'};
			syswrite $env->{'psgix.io'}, "HTTP/1.1 101 Switching Protocols\r\n\r\n" . pack 'C C a*', 0x81, length $$, $$;
			return sub { push @main::kept, $env->{'psgix.io'} };
		}`}
	app := h.app(t, confine.Isolation{}, o)
	c := pagitest.Start(t, app)
	number, adapter := who(t, c)
	if adapter != strconv.Itoa(h.Status()[0].PID) {
		t.Errorf("the parent is %s, the adapters are %+v", adapter, h.Status())
	}
	ws := c.WebSocket("/")
	if text, err := ws.ReceiveText(); err != nil || text != number {
		t.Errorf("%q, %v", text, err)
	}
	_ = ws.Finish()
	if err := app.(interface{ Reload(context.Context) error }).Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "a worker with new code", func() bool { again, _ := who(t, c); return again != number })
}

// exchange sends a text over a WebSocket and returns what comes back.
func exchange(t *testing.T, ws *pagitest.WebSocket, text string) string {
	t.Helper()
	if err := ws.SendText(text); err != nil {
		t.Fatal(err)
	}
	answer, err := ws.ReceiveText()
	if err != nil {
		t.Fatal(err)
	}
	return answer
}
