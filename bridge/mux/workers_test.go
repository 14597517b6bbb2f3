package mux_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/internal/leased"
	"github.com/pagi-go/pagi-bridge/bridge/lease"
	"github.com/pagi-go/pagi-bridge/bridge/mux"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// The workers are this test program, started again with MUX_WORKER set.
func TestMain(m *testing.M) {
	if os.Getenv("MUX_WORKER") != "" {
		if err := work(); err != nil {
			fmt.Fprintln(os.Stderr, "worker:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// work is the main function of a worker.
func work() error {
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	config, err := wire.DecodePairs(input)
	if err != nil {
		return err
	}
	conn, err := net.Dial("unix", config.Get("socket"))
	if err != nil {
		return err
	}
	offer := wire.Offer{Features: features}
	switch os.Getenv("MUX_WORKER") {
	case "few":
		offer.Streams = 2
	case "requests":
		offer.Features = wire.FeatureRequests
	}
	line, err := mux.Greet(conn, offer, config.Get("token"))
	if err != nil {
		return err
	}
	if path := config.Get("listen"); path != "" {
		return listen(conn, path, offer, config.Get("token"))
	}
	return mux.NewWorker(line, pagi.AppFunc(workerApp), mux.WorkerOptions{}).Run(context.Background())
}

// listen serves gateways that dial, all at once, until the keeper says DRAIN or goes.
func listen(keeper net.Conn, path string, offer wire.Offer, token string) error {
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	if _, err := keeper.Write(wire.AppendFrame(nil, wire.Ready, 0, 0, nil)); err != nil {
		return err
	}
	var gateways sync.WaitGroup
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			gateways.Go(func() {
				defer conn.Close()
				line, err := mux.Answer(conn, offer, wire.FeatureScopes, func(h wire.HelloPayload) error {
					if h.Token != token {
						return errors.New("the token is another one")
					}
					return nil
				})
				if err == nil {
					_ = mux.NewWorker(line, pagi.AppFunc(workerApp), mux.WorkerOptions{}).Run(context.Background()) // until it has gone
				}
			})
		}
	}()
	for {
		frame, err := wire.ReadFrame(keeper, nil)
		if err != nil {
			return nil // the keeper has gone
		}
		if frame.Type == wire.Drain {
			gateways.Wait()
			return nil
		}
	}
}

// workerApp is the application of the workers: /pid tells which one it is, /stop stops it as a blocked loop
// would, and sample has the rest.
func workerApp(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	switch {
	case scope.Type != pagi.TypeHTTP:
	case scope.Path == "/pid":
		return respond(ctx, send, 200, strconv.Itoa(os.Getpid()))
	case scope.Path == "/stop":
		err := syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		<-ctx.Done()
		return err
	}
	return sample(ctx, scope, receive, send)
}

// workers are running mux.Workers, and a client of theirs.
type workers struct {
	*mux.Workers
	*pagitest.Client
	log *testkit.Log
}

func startWorkers(t *testing.T, mode string, opt mux.WorkersOptions) *workers {
	t.Helper()
	w := &workers{log: &testkit.Log{}}
	opt.Logger = w.log.Logger()
	opt.Start = func(s worker.Setup) (*exec.Cmd, []byte, error) {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "MUX_WORKER="+mode)
		return cmd, wire.AppendPairs(nil, "socket", s.Socket, "listen", s.Listen, "token", s.Token), nil
	}
	if opt.Crew == nil {
		opt.Crew = leased.Maker()
	}
	w.Workers = mux.NewWorkers(opt)
	w.Client = pagitest.New(pagi.AppFunc(w.Serve))
	if err := w.Workers.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
		defer cancel()
		if err := w.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return w
}

func two() worker.Processes { return worker.Processes{Workers: 2} }

// pid returns the worker that answers.
func (w *workers) pid(t *testing.T) string {
	t.Helper()
	r := w.Get("/pid")
	if r.Err != nil || r.Status != 200 {
		t.Fatalf("%+v", r)
	}
	return r.Text()
}

// states are the states of the workers, and how many scopes they have.
func (w *workers) states() string {
	var list []string
	for _, p := range w.Status().Workers {
		list = append(list, fmt.Sprintf("%s %d", p.State, p.Inflight))
	}
	return strings.Join(list, ", ")
}

func (w *workers) await(t *testing.T, want string) {
	t.Helper()
	testkit.Eventually(t, want, func() bool { return w.states() == want })
}

func TestWorkersShareScopes(t *testing.T) {
	w := startWorkers(t, "serve", mux.WorkersOptions{Processes: two()})
	a, b := w.WebSocket("/"), w.WebSocket("/")
	w.await(t, "busy 1, busy 1")
	for _, ws := range []*pagitest.WebSocket{a, b} {
		if err := ws.SendText("hi"); err != nil {
			t.Fatal(err)
		}
		if got, err := ws.ReceiveText(); got != "hi" || err != nil {
			t.Errorf("%q %v", got, err)
		}
		if err := ws.Finish(); err != nil {
			t.Error(err)
		}
	}
	big := strings.Repeat("x", 1<<20)
	if r := w.Post("/echo", pagitest.Body(big)); r.Text() != big {
		t.Errorf("%d bytes come back, %v", len(r.Body), r.Err)
	}
	w.await(t, "ready 0, ready 0")
}

func TestAReloadLeavesOpenStreamsToTheirWorkers(t *testing.T) {
	w := startWorkers(t, "serve", mux.WorkersOptions{Processes: two()})
	old := map[string]bool{w.pid(t): true, w.pid(t): true}
	for len(old) < 2 {
		old[w.pid(t)] = true
	}
	ws := w.WebSocket("/")
	if err := w.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if old[w.pid(t)] {
			t.Fatal("a worker that was replaced gets a new scope")
		}
	}
	if err := ws.SendText("still there?"); err != nil {
		t.Fatal(err)
	}
	if got, err := ws.ReceiveText(); got != "still there?" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	w.await(t, "busy 1, ready 0, ready 0")
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
	w.await(t, "ready 0, ready 0")
}

func TestAWorkerThatDiesIsReplaced(t *testing.T) {
	w := startWorkers(t, "serve", mux.WorkersOptions{Processes: two()})
	a, b := w.WebSocket("/"), w.WebSocket("/")
	victim := w.Status().Workers[0]
	if err := syscall.Kill(victim.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	w.log.WaitFor(t, "the worker died with scopes open", "scopes=1")
	ended, alive := 0, 0
	for _, ws := range []*pagitest.WebSocket{a, b} {
		if err := ws.SendText("hi"); err != nil {
			ended++
			continue
		}
		if _, err := ws.ReceiveText(); err != nil {
			ended++
			continue
		}
		alive++
	}
	if ended != 1 || alive != 1 {
		t.Errorf("%d WebSockets have ended and %d go on", ended, alive)
	}
	w.await(t, "busy 1, ready 0")
	for _, ws := range []*pagitest.WebSocket{a, b} {
		_ = ws.Finish() // one of them has ended with an error
	}
}

func TestABlockedWorkerIsReplaced(t *testing.T) {
	w := startWorkers(t, "serve", mux.WorkersOptions{
		Processes: worker.Processes{Workers: 1}, Limits: worker.Limits{KillAfter: 50 * time.Millisecond},
		Ping: mux.Ping{Every: 10 * time.Millisecond, Patience: 200 * time.Millisecond},
	})
	before := w.pid(t)
	if r := w.Get("/stop"); !errors.Is(r.Err, mux.ErrClosed) {
		t.Errorf("%v", r.Err)
	}
	w.log.WaitFor(t, "a worker is killed", "no sign of life")
	w.await(t, "ready 0")
	if w.pid(t) == before {
		t.Error("the blocked worker answers")
	}
}

func TestWorkersAreRecycled(t *testing.T) {
	w := startWorkers(t, "serve", mux.WorkersOptions{Processes: worker.Processes{Workers: 1, MaxRequests: 5}, Limits: worker.Limits{MaxRequestsJitter: -1}})
	seen := map[string]bool{}
	testkit.Eventually(t, "three workers one after another", func() bool {
		r := w.Get("/pid")
		if r.Err != nil {
			t.Fatalf("a request fails while workers are replaced: %v", r.Err)
		}
		seen[r.Text()] = true
		return len(seen) >= 3
	})
}

func TestWorkersAreAddedWhenScopesAreRefused(t *testing.T) {
	w := startWorkers(t, "few", mux.WorkersOptions{Processes: worker.Processes{MinWorkers: 1, MaxWorkers: 2}})
	var open []*pagitest.WebSocket
	testkit.Eventually(t, "four WebSockets on two workers", func() bool {
		ws := w.WebSocket("/")
		if ws.Accepted {
			open = append(open, ws)
		} else if !errors.Is(ws.Response.Err, mux.ErrBusy) {
			t.Fatal(ws.Response.Err)
		}
		return len(open) == 4
	})
	w.await(t, "busy 2, busy 2")
	for _, ws := range open {
		if err := ws.Finish(); err != nil {
			t.Error(err)
		}
	}
}

func TestAWorkerOfAnotherKindIsRefused(t *testing.T) {
	var log testkit.Log
	w := mux.NewWorkers(mux.WorkersOptions{
		Processes: worker.Processes{Workers: 1}, Limits: worker.Limits{KillAfter: 50 * time.Millisecond}, Logger: log.Logger(),
		Start: func(s worker.Setup) (*exec.Cmd, []byte, error) {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "MUX_WORKER=requests")
			return cmd, wire.AppendPairs(nil, "socket", s.Socket, "token", s.Token), nil
		},
	})
	err := w.Start(t.Context())
	if want := `it has the features "requests", and this side needs "scopes"`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestWorkersOverALease(t *testing.T) {
	t.Parallel()
	leased.Again(t, "^Test(WorkersShare|AReload|AWorkerThatDies|ABlockedWorkerIsReplaced|WorkersAre)")
}

// Two gateways have scopes of one worker at the same time. The one that goes leaves it to the other.
func TestTwoGatewaysShareAWorker(t *testing.T) {
	var keeper *lease.Keeper
	first := startWorkers(t, "serve", mux.WorkersOptions{
		Processes: worker.Processes{Workers: 1},
		Crew: func(o worker.Options, h worker.Host) worker.Crew {
			c := leased.Of(lease.KeeperOptions{Options: o}, h)
			keeper = c.Keeper
			return c
		},
	})
	second := startWorkers(t, "serve", mux.WorkersOptions{
		Crew: func(o worker.Options, h worker.Host) worker.Crew {
			return lease.New(lease.Options{Options: o, Control: leased.Line(keeper)}, h)
		},
	})
	if a, b := first.pid(t), second.pid(t); a != b {
		t.Fatalf("%s serves the one, and %s the other", a, b)
	}
	ws := first.WebSocket("/")
	if err := second.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if err := ws.SendText("still there?"); err != nil {
		t.Fatal(err)
	}
	if got, err := ws.ReceiveText(); got != "still there?" || err != nil {
		t.Errorf("%q %v", got, err)
	}
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
	if s := first.Status(); s.Launched != 1 {
		t.Errorf("%d workers were started", s.Launched)
	}
}
