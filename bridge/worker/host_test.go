package worker

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/internal/fakeworker"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

func TestMain(m *testing.M) { fakeworker.Main(m) }

// quiet is a Host that gives its workers nothing to do, and counts what it is told. Each of its methods takes its own lock
// and then asks the group, so a group that calls it with its lock held hangs.
type quiet struct {
	group *Group

	mu       sync.Mutex
	stations map[*bench]struct{} // of the workers that have not ended
	load     Load                // what waits
	counts   told
	wrong    []string // what must not have happened
}

// told counts the calls of a Host.
type told struct{ employed, ready, relieved, drained, exiting, broken, ended, stranded int }

// bench is the Station of a worker that does nothing.
type bench struct {
	host        *quiet
	process     *Process
	since       time.Time
	ready, gone bool
	ended       bool
}

func (h *quiet) lock() {
	h.mu.Lock()
	h.group.Status()
}

func (h *quiet) Employ(p Worker) Station {
	h.lock()
	defer h.mu.Unlock()
	b := &bench{host: h, process: p.(*Process)}
	h.stations[b] = struct{}{}
	h.counts.employed++
	return b
}

func (h *quiet) Look(now time.Time) Load {
	h.lock()
	defer h.mu.Unlock()
	load := h.load
	for b := range h.stations {
		if b.ready && !b.gone && load.Queued == 0 {
			load.Idle++
			if idle := now.Sub(b.since); load.Coldest == nil || idle > load.IdleFor {
				load.Coldest, load.IdleFor = b.process, idle
			}
		}
	}
	return load
}

func (h *quiet) Stranded() {
	h.lock()
	defer h.mu.Unlock()
	h.counts.stranded++
}

// note counts a call for a station, and that it must not be one after Ended.
func (b *bench) note(count *int, what string) {
	if b.ended {
		b.host.wrong = append(b.host.wrong, fmt.Sprintf("%s of worker %d after its end", what, b.process.ID()))
	}
	*count++
}

func (b *bench) Ready() {
	b.host.lock()
	defer b.host.mu.Unlock()
	b.note(&b.host.counts.ready, "Ready")
	if b.ready {
		b.host.wrong = append(b.host.wrong, "Ready twice")
	}
	b.ready, b.since = true, time.Now()
	b.makeWayLocked()
}

// makeWayLocked has the worker go if it is relieved. It has no work, and the frame is short, so that writing it with the
// lock held does not block.
func (b *bench) makeWayLocked() {
	if b.ready && !b.gone && b.process.Relieved() && b.process.MakeWay() {
		b.gone = true
		b.process.Flush()
	}
}

func (b *bench) Idle() (time.Time, bool) {
	b.host.lock()
	defer b.host.mu.Unlock()
	return b.since, b.ready && !b.gone
}

func (b *bench) Relieve() {
	b.host.lock()
	defer b.host.mu.Unlock()
	b.note(&b.host.counts.relieved, "Relieve")
	b.makeWayLocked()
}

func (b *bench) Withdraw() {
	b.host.lock()
	defer b.host.mu.Unlock()
	b.gone = true
}

func (b *bench) Drain() {
	b.host.lock()
	defer b.host.mu.Unlock()
	b.note(&b.host.counts.drained, "Drain")
	b.gone = true
	b.process.Drain()
	b.process.Flush()
}

func (b *bench) Frame(f wire.Frame) error { return fmt.Errorf("%w: a %s frame", ErrProtocol, f.Type) }

func (b *bench) Exiting() error {
	b.host.lock()
	defer b.host.mu.Unlock()
	b.note(&b.host.counts.exiting, "Exiting")
	b.gone = true
	return nil
}

func (b *bench) Broken(error) {
	b.host.lock()
	defer b.host.mu.Unlock()
	b.note(&b.host.counts.broken, "Broken")
	b.gone = true
}

func (b *bench) Ended(End) bool {
	b.host.lock()
	defer b.host.mu.Unlock()
	b.note(&b.host.counts.ended, "Ended")
	b.ended = true
	delete(b.host.stations, b)
	return false
}

// started is a running group of fake workers.
type started struct {
	*Group
	t    *testing.T
	host *quiet
	log  *testkit.Log
}

// fakeStart starts workers of that mode.
func fakeStart(mode string) func(Setup) (*exec.Cmd, []byte, error) {
	return func(s Setup) (*exec.Cmd, []byte, error) {
		cmd, input := fakeworker.Command(mode, s.Socket, s.Listen, s.Token, s.Worker)
		return cmd, input, nil
	}
}

// fakePreload starts a zygote with that fault, whose workers serve.
func fakePreload(fault string) func(Setup) (*exec.Cmd, []byte, error) {
	return func(s Setup) (*exec.Cmd, []byte, error) {
		if !s.Preload {
			return nil, nil, fmt.Errorf("worker %d is to be started, not forked", s.Worker)
		}
		cmd, input := fakeworker.Zygote(fault, "serve", s.Socket, s.Token)
		return cmd, input, nil
	}
}

// prepare returns a group that has not been started.
func prepare(t *testing.T, opt Options) *started {
	t.Helper()
	s := &started{t: t, log: &testkit.Log{}, host: &quiet{stations: map[*bench]struct{}{}}}
	if opt.Workers == 0 && opt.MaxWorkers == 0 {
		opt.Workers = 1
	}
	if opt.Logger == nil {
		opt.Logger = s.log.Logger()
	}
	if opt.Start == nil {
		opt.Start = fakeStart("serve")
	}
	s.Group = New(opt, s.host)
	s.host.group = s.Group
	return s
}

// start starts a group. When the test ends, the group is stopped. Then each worker has had exactly one end.
func start(t *testing.T, opt Options) *started {
	t.Helper()
	s := prepare(t, opt)
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
		if now := s.told(); now.employed != now.ended || len(s.host.stations) != 0 || len(s.tokens) != 0 || len(s.workers) != 0 {
			t.Errorf("%+v, and %d stations, %d tokens and %d workers are left", now, len(s.host.stations), len(s.tokens), len(s.workers))
		}
		for _, wrong := range s.host.wrong {
			t.Error(wrong)
		}
		if t.Failed() {
			t.Logf("log:\n%s", s.log)
		}
	})
	return s
}

// preloading starts a group with a zygote that has that fault.
func preloading(t *testing.T, fault string, opt Options) *started {
	t.Helper()
	opt.Preload, opt.Start = true, fakePreload(fault)
	if opt.KillAfter == 0 {
		opt.KillAfter = 200 * time.Millisecond
	}
	return start(t, opt)
}

// told returns what the host was told so far.
func (s *started) told() told {
	s.host.mu.Lock()
	defer s.host.mu.Unlock()
	return s.host.counts
}

// wait sets what waits for a worker.
func (s *started) wait(load Load) {
	s.host.mu.Lock()
	defer s.host.mu.Unlock()
	s.host.load = load
}

// only returns the only worker, once it serves.
func (s *started) only() (p *Process) {
	s.t.Helper()
	testkit.Eventually(s.t, "one serving worker", func() bool {
		s.host.mu.Lock()
		defer s.host.mu.Unlock()
		for b := range s.host.stations {
			p = b.process
		}
		return len(s.host.stations) == 1 && p.State() == Serving
	})
	return p
}

// serveOne has each worker count a request.
func (s *started) serveOne() {
	s.host.mu.Lock()
	defer s.host.mu.Unlock()
	for b := range s.host.stations {
		b.process.Served()
	}
}

func (s *started) reload() error {
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	defer cancel()
	return s.Reload(ctx)
}

func (s *started) signal(pid int, signal syscall.Signal) {
	s.t.Helper()
	if err := syscall.Kill(pid, signal); err != nil {
		s.t.Fatal(err)
	}
}

// serving waits until there are n serving workers and no others.
func (s *started) serving(n int) []ProcessStatus {
	s.t.Helper()
	testkit.Eventually(s.t, fmt.Sprintf("%d serving workers", n), func() bool {
		all := s.Status().Workers
		return len(all) == n && !slices.ContainsFunc(all, func(w ProcessStatus) bool { return w.State != Serving.String() })
	})
	return s.Status().Workers
}

func touch(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func isGone(pid int) bool { return syscall.Kill(pid, 0) == syscall.ESRCH }

// A group starts, replaces and ends its workers whatever its host does with them: here nothing.
func TestAHostWithoutRequests(t *testing.T) {
	for name, begin := range map[string]func(*testing.T, Options) *started{
		"started": start,
		"forked":  func(t *testing.T, opt Options) *started { return preloading(t, "", opt) },
	} {
		t.Run(name, func(t *testing.T) {
			s := begin(t, Options{Processes: Processes{Workers: 3}})
			if now := s.told(); now.ready != 3 || now.employed != 3 {
				t.Errorf("after the start: %+v", now)
			}
			if err := s.reload(); err != nil {
				t.Fatal(err)
			}
			for _, w := range s.serving(3) {
				if w.Generation != 2 {
					t.Errorf("%+v", w)
				}
			}
			if now := s.told(); now.ready != 6 || now.relieved != 3 || now.ended != 3 {
				t.Errorf("after a reload: %+v", now)
			}
			s.serveOne() // a worker that ends before it has served anything counts as a failed start
			s.signal(s.serving(3)[0].PID, syscall.SIGKILL)
			testkit.Eventually(t, "a replacement", func() bool { return s.told().ready == 7 })
			s.serving(3)
			if got := s.Status().Totals.Restarts; got.Reload != 3 || got.Died != 1 {
				t.Errorf("%+v", got)
			}
			if err := s.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			if now := s.told(); now.drained != 3 || now.ended != 7 {
				t.Errorf("after the stop: %+v", now)
			}
		})
	}
}

func TestAHostWithoutRequestsIsRecycled(t *testing.T) {
	t.Run("for its age", func(t *testing.T) {
		s := start(t, Options{Processes: Processes{Workers: 2, MaxAge: 200 * time.Millisecond}})
		testkit.Eventually(t, "all to be replaced", func() bool { return s.told().ended >= 4 })
		s.log.WaitFor(t, `msg="a worker is replaced"`, "reason=max_age")
	})
	t.Run("for its memory", func(t *testing.T) {
		s := start(t, Options{Processes: Processes{Workers: 1, MaxRSS: 1}})
		testkit.Eventually(t, "it to be replaced", func() bool { return s.Status().Totals.Restarts.MaxRSS > 0 })
	})
	t.Run("for what it has served", func(t *testing.T) {
		s := start(t, Options{Processes: Processes{Workers: 1, MaxRequests: 3}, Limits: Limits{MaxRequestsJitter: -1}})
		first := s.only()
		first.Served()
		first.Served()
		if n := s.Status().Launched; n != 1 {
			t.Errorf("%d were started after 2 of 3", n)
		}
		first.Served()
		testkit.Eventually(t, "it to be replaced", func() bool { return first.State() == Dead })
		if got := s.Status(); got.Launched != 2 || got.Totals.Restarts.MaxRequests != 1 {
			t.Errorf("%+v", got)
		}
		s.log.WaitFor(t, `msg="a worker is replaced"`, "reason=max_requests", "by=2", "served=3")
	})
}

// The number of workers follows what the host says of its load.
func TestAHostWithoutRequestsIsScaled(t *testing.T) {
	s := start(t, Options{Processes: Processes{MinWorkers: 1, MaxWorkers: 3}, Limits: Limits{IdleTimeout: 200 * time.Millisecond}})
	s.wait(Load{Queued: 5, Oldest: time.Second})
	s.serving(3)
	s.wait(Load{})
	s.serving(1)
	if now := s.told(); now.employed != 3 || now.relieved != 2 {
		t.Errorf("%+v", now)
	}
	if got := s.Status().Totals.Restarts; got.Reload+got.Died+got.Exited != 0 {
		t.Errorf("a worker too many is not replaced: %+v", got)
	}
	if n := s.Resize(1); n != 2 {
		t.Errorf("%d", n)
	}
	s.serving(2)
}

// A host may end a worker that takes too long. The host takes the work back itself.
func TestAHostKillsAWorker(t *testing.T) {
	s := start(t, Options{})
	p := s.only()
	if !p.Kill(Overdue{Reason: "a test"}) || p.State() != Exiting {
		t.Errorf("it is %v", p.State())
	}
	if p.Kill(Overdue{Reason: "a test"}) {
		t.Error("it was killed twice")
	}
	testkit.Eventually(t, "another one", func() bool { return p.State() == Dead && s.told().ready == 2 })
	if got := s.Status().Totals.Restarts; got.TimedOut != 1 || s.told().broken != 0 {
		t.Errorf("%+v", got)
	}
	if p.MakeWay() {
		t.Error("a dead worker makes way")
	}
}

// A frame that the host refuses ends the worker. So does a frame for the group that comes at the wrong time.
func TestAFrameThatTheHostRefuses(t *testing.T) {
	s := prepare(t, Options{Start: fakeStart("idle before ready"), Limits: Limits{KillAfter: 100 * time.Millisecond}})
	if err := s.Start(t.Context()); err == nil || !strings.Contains(err.Error(), "a IDLE frame") {
		t.Errorf("error %v", err)
	}
	if now := s.told(); now.ready != 0 || now.broken != 1 || now.ended != 1 {
		t.Errorf("%+v", now)
	}
}

// The host is told when no worker can be had, and the circuit says so without the group's lock where all is well.
func TestStranded(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken")
	s := start(t, Options{Start: fakeStart("fails when:" + broken), Limits: Limits{KillAfter: 100 * time.Millisecond}})
	s.mu.Lock()
	if s.fuse.doubt.Load() || s.Circuit() != Closed { // would hang with a doubt
		t.Error("a working group is doubted")
	}
	s.mu.Unlock()
	touch(t, broken)
	s.signal(s.serving(1)[0].PID, syscall.SIGKILL)
	testkit.Eventually(t, "the host to know", func() bool { return s.told().stranded > 0 && s.Circuit() != Closed })
	if err := os.Remove(broken); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the circuit to close", func() bool { return s.Circuit() == Closed })
}
