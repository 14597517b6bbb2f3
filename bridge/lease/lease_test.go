package lease_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/internal/fakeworker"
	"github.com/pagi-go/pagi-bridge/bridge/internal/leased"
	"github.com/pagi-go/pagi-bridge/bridge/lease"
	"github.com/pagi-go/pagi-bridge/bridge/pool"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

func TestMain(m *testing.M) { fakeworker.Main(m) }

// keep starts a keeper of fake workers of that mode.
func keep(t *testing.T, mode string, opt lease.KeeperOptions) (*lease.Keeper, *testkit.Log) {
	t.Helper()
	log := &testkit.Log{}
	opt.Logger, opt.Need, opt.Offer = log.Logger(), wire.FeatureRequests, wire.Offer{Features: wire.FeatureRequests}
	opt.MaxRequestsJitter = -1
	if opt.KillAfter == 0 {
		opt.KillAfter = 200 * time.Millisecond
	}
	opt.Start = func(s worker.Setup) (*exec.Cmd, []byte, error) {
		cmd, input := fakeworker.Command(mode, s.Socket, s.Listen, s.Token, s.Worker)
		return cmd, input, nil
	}
	k := lease.NewKeeper(opt)
	if err := k.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
		defer cancel()
		if err := k.Stop(ctx); err != nil {
			t.Errorf("stop the keeper: %v", err)
		}
		if t.Failed() {
			t.Logf("log of the keeper:\n%s", log)
		}
	})
	return k, log
}

// gateway is a pool with the workers of a keeper.
type gateway struct {
	*pool.Pool
	t    *testing.T
	crew *lease.Crew
	line *leased.Wire
	log  *testkit.Log
}

func attach(t *testing.T, k *lease.Keeper, greet time.Duration) *gateway {
	t.Helper()
	g := &gateway{t: t, line: leased.Line(k), log: &testkit.Log{}}
	g.Pool = pool.New(pool.Options{
		Name: "/", Logger: g.log.Logger(), Limits: pool.Limits{Limits: worker.Limits{KillAfter: 200 * time.Millisecond}},
		Crew: func(o worker.Options, h worker.Host) worker.Crew {
			g.crew = lease.New(lease.Options{Options: o, Control: g.line, GreetTime: greet}, h)
			return g.crew
		},
	})
	if err := g.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		g.stop()
		if t.Failed() {
			t.Logf("log of the gateway:\n%s", g.log)
		}
	})
	return g
}

// stop stops the gateway as a drain does.
func (g *gateway) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	if err := g.Stop(ctx); err != nil {
		g.t.Errorf("stop the gateway: %v", err)
	}
}

// vanish ends the gateway as kill -9 does: it says nothing to the keeper, and its connections end.
func (g *gateway) vanish() {
	g.line.Cut()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := g.Stop(ctx); err != nil {
		g.t.Errorf("end the gateway: %v", err)
	}
}

var names wire.NameTable

func request(do string, safe bool) *pool.Request {
	b := &wire.RequestBuilder{}
	b.Begin(&names)
	b.Pair("do", do)
	b.Body(nil)
	return &pool.Request{Frame: b.Frame, Names: b.Names(), Safe: safe, Label: do}
}

type outcome struct {
	body string
	err  error
}

// do sends a request and reads the answer.
func (g *gateway) do(do string, safe bool) (o outcome) {
	answer, err := g.Do(request(do, safe))
	if err != nil {
		return outcome{err: err}
	}
	defer answer.Close()
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	var body strings.Builder
	for last := false; !last && o.err == nil; {
		var piece pool.Piece
		piece, o.err = answer.Next(ctx)
		body.Write(piece.Body)
		last = piece.Last
	}
	o.body = body.String()
	return o
}

func (g *gateway) async(do string) <-chan outcome {
	c := make(chan outcome, 1)
	go func() { c <- g.do(do, false) }()
	return c
}

// states are the states of the workers, as the gateway sees them.
func (g *gateway) states() string {
	var list []string
	for _, w := range g.Status().Workers {
		list = append(list, w.State)
	}
	return strings.Join(list, " ")
}

func (g *gateway) await(want string) {
	g.t.Helper()
	testkit.Eventually(g.t, want, func() bool { return g.states() == want })
}

func pids(t *testing.T, k *lease.Keeper) (list []int) {
	t.Helper()
	s, err := k.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range s.Workers {
		list = append(list, w.PID)
	}
	return list
}

func served(t *testing.T, k *lease.Keeper) (n int) {
	t.Helper()
	s, err := k.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range s.Workers {
		n += w.Served
	}
	return n
}

func touch(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func workers(n int) worker.Options { return worker.Options{Processes: worker.Processes{Workers: n}} }

// A gateway that vanishes in the middle of a request costs that request. Its worker finishes, and serves the next gateway.
func TestAGatewayThatVanishes(t *testing.T) {
	k, _ := keep(t, "serve", lease.KeeperOptions{Options: workers(2)})
	before := pids(t, k)
	first := attach(t, k, 0)
	for range 10 {
		if o := first.do("pid", false); o.err != nil {
			t.Fatal(o.err)
		}
	}
	dir := t.TempDir()
	mark, gate := filepath.Join(dir, "mark"), filepath.Join(dir, "gate")
	cut := first.async("mark-and-wait " + mark + " " + gate)
	testkit.Eventually(t, "the worker to have begun", func() bool { _, err := os.Stat(mark); return err == nil })
	testkit.Eventually(t, "ten requests to be counted", func() bool { first.Status(); return served(t, k) == 10 })
	first.vanish()
	if o := testkit.Await(t, cut); o.err == nil {
		t.Error("the request is answered")
	}
	second := attach(t, k, 0)
	if o := second.do("pid", false); o.err != nil {
		t.Errorf("by the idle worker: %v", o.err)
	}
	testkit.Eventually(t, "one worker, and one that is busy for the first gateway", func() bool {
		states := second.states()
		return states == "starting ready" || states == "ready starting"
	})
	touch(t, gate)
	second.await("ready ready")
	if now := pids(t, k); !slices.Equal(before, now) {
		t.Errorf("the processes were %v and are %v", before, now)
	}
	testkit.Eventually(t, "eleven requests to be counted", func() bool { second.Status(); return served(t, k) == 11 })
}

// Two gateways at once: the first drains while the second has begun. No request is lost.
func TestTwoGateways(t *testing.T) {
	k, _ := keep(t, "serve", lease.KeeperOptions{Options: workers(3)})
	before := pids(t, k)
	first := attach(t, k, 0)
	var done atomic.Int64
	var clients sync.WaitGroup
	current := atomic.Pointer[gateway]{}
	current.Store(first)
	half := make(chan struct{})
	for range 10 {
		clients.Go(func() {
			for range 100 {
				o := current.Load().do("sleep 500us", false)
				if errors.Is(o.err, pool.ErrClosed) { // it went to the first after the second had taken over
					o = current.Load().do("sleep 500us", false)
				}
				if o.err != nil {
					t.Errorf("a request is lost: %v", o.err)
				}
				if done.Add(1) == 500 {
					close(half)
				}
			}
		})
	}
	<-half
	second := attach(t, k, 0) // its dials wait in the backlog
	if n := k.Gateways(); n != 2 {
		t.Errorf("%d gateways", n)
	}
	current.Store(second)
	first.stop()
	clients.Wait()
	second.await("ready ready ready")
	if now := pids(t, k); !slices.Equal(before, now) {
		t.Errorf("the processes were %v and are %v", before, now)
	}
}

// The keeper learns at once of the request that uses up the quota, and the worker serves until its successor does.
func TestQuota(t *testing.T) {
	opt := workers(1)
	opt.MaxRequests = 10
	k, _ := keep(t, "serve", lease.KeeperOptions{Options: opt})
	g := attach(t, k, 0)
	old := pids(t, k)[0]
	for range 9 {
		if o := g.do("pid", false); o.body != strconv.Itoa(old) {
			t.Fatalf("%+v", o)
		}
	}
	testkit.Eventually(t, "nine requests to be counted", func() bool { s := g.Status(); return s.Workers[0].Served == 9 })
	if n := g.Status().Launched; n != 1 {
		t.Fatalf("%d workers after nine requests", n)
	}
	if o := g.do("pid", false); o.err != nil {
		t.Fatal(o.err)
	}
	testkit.Eventually(t, "another worker", func() bool {
		o := g.do("pid", false)
		if o.err != nil {
			t.Fatal(o.err)
		}
		return o.body != strconv.Itoa(old)
	})
	g.log.WaitFor(t, "a worker is replaced", "reason=max_requests")
}

// A worker that dies in any phase is replaced, and the error says how it has ended.
func TestKill9(t *testing.T) {
	for phase, do := range map[string]string{"idle": "", "busy": "wait /none", "cleaning": "cleanup /none", "in the middle of an answer": "drip 100000000"} {
		t.Run(phase, func(t *testing.T) {
			t.Parallel()
			k, _ := keep(t, "serve", lease.KeeperOptions{Options: workers(1)})
			g := attach(t, k, 0)
			pid := pids(t, k)[0]
			var answer <-chan outcome
			if do != "" {
				answer = g.async(do)
				g.await("busy")
			}
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if do != "" {
				if o := testkit.Await(t, answer); phase != "cleaning" && (!errors.Is(o.err, pool.ErrWorkerDied) || !strings.Contains(o.err.Error(), "signal: killed")) {
					t.Errorf("%+v", o)
				}
			}
			testkit.Eventually(t, "another worker", func() bool {
				o := g.do("pid", false)
				return o.err == nil && o.body != strconv.Itoa(pid)
			})
		})
	}
}

// A worker that is not what its keeper says is killed. The others serve.
func TestWorkersThatLie(t *testing.T) {
	for mode, want := range map[string]string{
		"never accepts":          "has not greeted this gateway",
		"accepts and is silent":  "has not greeted this gateway",
		"welcomes and is silent": "has the features",
		"speaks garbage":         "does not keep to the protocol",
		"refuses":                "it has refused this gateway: not you",
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			k, _ := keep(t, mode, lease.KeeperOptions{Options: workers(1)})
			pid := pids(t, k)[0]
			g := attachTo(t, leased.Line(k), 100*time.Millisecond)
			g.log.WaitFor(t, want)
			testkit.Eventually(t, "the worker to be killed", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) })
		})
	}
	t.Run("another token", func(t *testing.T) {
		k, _ := keep(t, "serve", lease.KeeperOptions{Options: workers(1)})
		g := attachTo(t, &forged{Wire: leased.Line(k), change: func(e *lease.Endpoint) { e.Token = "guess" }}, 100*time.Millisecond)
		g.log.WaitFor(t, "the token is another one")
	})
	t.Run("another process", func(t *testing.T) {
		k, _ := keep(t, "serve", lease.KeeperOptions{Options: workers(1)})
		g := attachTo(t, &forged{Wire: leased.Line(k), change: func(e *lease.Endpoint) { e.PID = 1 }}, 100*time.Millisecond)
		g.log.WaitFor(t, "listens for it, and not process 1")
	})
}

// forged is a line on which endpoints are changed.
type forged struct {
	*leased.Wire
	change func(*lease.Endpoint)
}

func (f *forged) Attach(ctx context.Context, gateway string) (lease.Stream, error) {
	s, err := f.Wire.Attach(ctx, gateway)
	return forgedStream{s, f}, err
}

type forgedStream struct {
	lease.Stream
	by *forged
}

func (f forgedStream) Next() (lease.Changes, error) {
	c, err := f.Stream.Next()
	for i := range c.Endpoints {
		f.by.change(&c.Endpoints[i])
	}
	return c, err
}

// attachTo starts a gateway whose workers may all be of no use.
func attachTo(t *testing.T, control lease.Control, greet time.Duration) *gateway {
	t.Helper()
	g := &gateway{t: t, log: &testkit.Log{}}
	g.Pool = pool.New(pool.Options{
		Name: "/", Logger: g.log.Logger(),
		Crew: func(o worker.Options, h worker.Host) worker.Crew {
			g.crew = lease.New(lease.Options{Options: o, Control: control, GreetTime: greet}, h)
			return g.crew
		},
	})
	if err := g.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.stop)
	return g
}

// When the line to the keeper is cut, the workers that the gateway has go on. Another line to the same keeper finds them.
func TestTheLineIsCut(t *testing.T) {
	k, _ := keep(t, "serve", lease.KeeperOptions{Options: workers(2)})
	before := pids(t, k)
	g := attach(t, k, 0)
	gate := filepath.Join(t.TempDir(), "gate")
	running := g.async("wait " + gate)
	testkit.Eventually(t, "a busy worker", func() bool { return strings.Contains(g.states(), "busy") })
	g.line.Cut()
	g.log.WaitFor(t, "the keeper of the workers cannot be asked any more")
	for range 5 {
		if o := g.do("pid", false); o.err != nil {
			t.Errorf("a request without the keeper: %v", o.err)
		}
	}
	touch(t, gate)
	if o := testkit.Await(t, running); o.err != nil {
		t.Errorf("the request that was running: %v", o.err)
	}
	if err := g.Reload(t.Context()); err == nil {
		t.Error("a reload without a keeper")
	}
	if n := strings.Count(g.log.String(), "cannot be asked any more"); n != 1 {
		t.Errorf("told %d times", n)
	}
	if err := g.crew.Attach(t.Context(), leased.Line(k)); err != nil {
		t.Fatal(err)
	}
	g.await("ready ready")
	if now := pids(t, k); !slices.Equal(before, now) {
		t.Errorf("the processes were %v and are %v", before, now)
	}
	testkit.Eventually(t, "six requests to be counted", func() bool { g.Status(); return served(t, k) == 6 })
	broken := leased.Line(k)
	broken.Cut()
	if err := g.crew.Attach(t.Context(), broken); err == nil {
		t.Error("a line that is cut is attached")
	}
	if err := g.Reload(t.Context()); err != nil {
		t.Error(err)
	}
}

// Another keeper in the place of the first: the workers of the first finish and go.
func TestAnotherKeeper(t *testing.T) {
	first, _ := keep(t, "serve", lease.KeeperOptions{Options: workers(2)})
	old := pids(t, first)
	g := attach(t, first, 0)
	gate := filepath.Join(t.TempDir(), "gate")
	running := g.async("wait " + gate)
	testkit.Eventually(t, "a busy worker", func() bool { return strings.Contains(g.states(), "busy") })
	second, _ := keep(t, "serve", lease.KeeperOptions{Options: workers(1)})
	if err := g.crew.Attach(t.Context(), leased.Line(second)); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprint(pids(t, second)[0])
	testkit.Eventually(t, "the other keeper's worker", func() bool { return g.do("pid", false).body == want })
	for range 5 {
		if o := g.do("pid", false); o.body != want {
			t.Errorf("%+v, want %s", o, want)
		}
	}
	touch(t, gate)
	if o := testkit.Await(t, running); o.err != nil {
		t.Errorf("the request that was running: %v", o.err)
	}
	for _, pid := range old {
		testkit.Eventually(t, "the first keeper's workers to go", func() bool { return !slices.Contains(pids(t, first), pid) })
	}
}

// Without a keeper and without workers, requests are refused at once.
func TestNoKeeperAndNoWorkers(t *testing.T) {
	k, _ := keep(t, "serve", lease.KeeperOptions{Options: workers(1)})
	g := attach(t, k, 0)
	g.line.Cut()
	if err := syscall.Kill(pids(t, k)[0], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "a refusal", func() bool { return errors.Is(g.do("pid", false).err, pool.ErrNoWorkers) })
}

// A keeper tells its owner when it has had no gateway for a while.
func TestAlone(t *testing.T) {
	alone := make(chan struct{}, 10)
	k, _ := keep(t, "serve", lease.KeeperOptions{Options: workers(1), AloneFor: 50 * time.Millisecond, Alone: func() { alone <- struct{}{} }})
	testkit.Await(t, alone)
	g := attach(t, k, 0)
	g.vanish()
	testkit.Await(t, alone)
	if n := len(alone); n != 0 {
		t.Errorf("told %d times more", n)
	}
}

// listener is a keeper that counts the reports which tell of requests that wait.
type listener struct {
	*lease.Keeper
	queues atomic.Int64
}

func (l *listener) Report(ctx context.Context, r lease.Report) error {
	if r.Queued > 0 {
		l.queues.Add(1)
	}
	return l.Keeper.Report(ctx, r)
}

// A report costs more than a request. A keeper is told of requests that wait only if it may add workers.
func TestQueuesAreReportedWhereWorkersMayBeAdded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "go on")
	var outcomes []<-chan outcome
	listen := func(p worker.Processes) *listener {
		k, _ := keep(t, "serve", lease.KeeperOptions{Options: worker.Options{Processes: p}})
		l := &listener{Keeper: k}
		g := attachTo(t, l, 0)
		for range 3 {
			outcomes = append(outcomes, g.async("wait "+file))
		}
		return l
	}
	fixed := listen(worker.Processes{Workers: 1})
	follows := listen(worker.Processes{MinWorkers: 1, MaxWorkers: 2})
	testkit.Eventually(t, "reports of requests that wait", func() bool { return follows.queues.Load() >= 5 })
	if n := fixed.queues.Load(); n != 0 {
		t.Errorf("%d reports tell a keeper with a fixed number of workers of requests that wait", n)
	}
	touch(t, file)
	for _, o := range outcomes {
		if got := <-o; got.err != nil {
			t.Error(got.err)
		}
	}
	testkit.Eventually(t, "all requests to be counted", func() bool { return served(t, fixed.Keeper) == 3 && served(t, follows.Keeper) == 3 })
}
