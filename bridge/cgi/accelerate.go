//go:build linux && (amd64 || arm64 || riscv64)

package cgi

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	perlside "github.com/pagi-go/pagi-bridge/perl"
)

const canAccelerate = true

const (
	// worthwhile is the request for a script with which auto begins to compile it: one
	// that is asked for once a day shall not take memory.
	worthwhile = 2
	// idleAfter is how long a script that is not asked for stays compiled.
	idleAfter = 10 * time.Minute
	// sweepEvery is how often such scripts are looked for.
	sweepEvery = 30 * time.Second
	// lookEvery is how often the files that a script has loaded are looked at.
	lookEvery = time.Second
	// longEnough is how long a zygote must have lived for its death not to count.
	longEnough = 10 * time.Second
	// maxFailures is how many zygotes of a script may die in a row before it is left
	// to exec.
	maxFailures = 3
)

// accelerator keeps Perl scripts compiled. It does so between start and stop, which
// are the lifespan's: every process it has started ends with stop.
type accelerator struct {
	app   *app
	dir   string // private, holds the Perl side
	tasks sync.WaitGroup
	ctx   context.Context // ends with stop
	halt  context.CancelFunc

	mu       sync.Mutex
	running  bool
	scripts  map[string]*compiled // by file
	recent   list.List            // of *compiled with a zygote, the last used first
	children map[int]struct{}     // pids of what zygotes have forked
}

func newAccelerator(a *app) *accelerator {
	f := &accelerator{app: a, scripts: map[string]*compiled{}, children: map[int]struct{}{}}
	f.ctx, f.halt = context.WithCancel(context.Background())
	return f
}

// start makes scripts be compiled from now on.
func (f *accelerator) start() error {
	if f.app.Mode == ModeExec {
		return nil
	}
	dir, err := os.MkdirTemp("", "pagi-cgi-*") // mode 0700
	if err != nil {
		return fmt.Errorf("cgi: make a directory for the Perl side: %w", err)
	}
	if err = perlside.Extract(dir); err == nil {
		err = f.app.handOver(dir)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("cgi: %w", err), os.RemoveAll(dir))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dir, f.running = dir, true
	f.tasks.Go(f.sweep)
	return nil
}

// stop ends all zygotes and what waits for a request. Requests that run go on.
func (f *accelerator) stop() {
	f.mu.Lock()
	wasRunning := f.running
	f.running = false
	for file := range f.scripts {
		f.forgetLocked(file)
	}
	f.mu.Unlock()
	if !wasRunning {
		return
	}
	f.halt()
	f.tasks.Wait()
	if err := os.RemoveAll(f.dir); err != nil {
		f.app.logger().Warn("cgi: remove the directory of the Perl side", "error", err)
	}
}

// sweep drops the scripts that nobody asks for any more.
func (f *accelerator) sweep() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-f.ctx.Done():
			return
		case now := <-tick.C:
			for _, z := range f.sweepOnce(now) {
				z.rest()
			}
		}
	}
}

// sweepOnce returns the zygotes that have had nothing to do lately.
func (f *accelerator) sweepOnce(now time.Time) (quiet []*zygote) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for file, s := range f.scripts {
		switch idle := now.Sub(s.used); {
		case s.state == compiling:
		case idle > idleAfter:
			f.forgetLocked(file)
		case s.state == fast && idle > sweepEvery:
			quiet = append(quiet, s.zygote)
		}
	}
	return quiet
}

// forgetLocked ends what there is of a script.
func (f *accelerator) forgetLocked(file string) {
	s := f.scripts[file]
	if s == nil {
		return
	}
	delete(f.scripts, file)
	f.dropZygoteLocked(s)
	s.settleLocked(exhausted)
}

func (f *accelerator) dropZygoteLocked(s *compiled) {
	if s.place != nil {
		f.recent.Remove(s.place)
		s.place = nil
	}
	if z := s.zygote; z != nil {
		s.zygote = nil
		z.retire()
	}
}

// process returns a process that runs s, or nil where exec is to do that.
func (f *accelerator) process(ctx context.Context, s script, c command, onExit func()) *process {
	if f.app.Mode == ModeExec {
		return nil
	}
	z := f.zygoteFor(ctx, s, c.env)
	if z == nil || !z.accepts(c.env) {
		return nil
	}
	null, err := devNull()
	if err != nil {
		return nil
	}
	request := z.appendRequest(make([]byte, 0, 4<<10), c.env, c.stdin != int(null.Fd()))
	if len(request) > largestMessage {
		return nil
	}
	for waiting := z.take(ctx); waiting != nil; waiting = z.take(ctx) {
		if p := waiting.begin(request, c, onExit); p != nil {
			return p
		}
	}
	return nil
}

// zygoteFor returns the zygote of a script, nil while there is none.
func (f *accelerator) zygoteFor(ctx context.Context, asked script, env []string) *zygote {
	file := asked.file
	id, err := identify(file)
	if err != nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.running {
		return nil
	}
	s := f.scripts[file]
	if s == nil || s.id != id {
		f.forgetLocked(file)
		s = f.inspectLocked(asked, id)
		f.scripts[file] = s
	}
	s.used = time.Now()
	s.requests++
	if s.state == fast && (s.zygote.isGone() || s.zygote.isStale(s.used)) {
		f.loseLocked(s)
	}
	auto := f.app.Mode == ModeAuto && !s.persistent
	if s.state == untried && (!auto || s.requests >= worthwhile) {
		s.state, s.settled = compiling, make(chan struct{})
		f.tasks.Go(func() { f.compile(s, env, nil) })
	}
	if s.state == compiling && !auto {
		settled := s.settled
		f.mu.Unlock()
		select {
		case <-settled:
		case <-ctx.Done():
		}
		f.mu.Lock()
	}
	if s.state != fast {
		return nil
	}
	if s.place != nil {
		f.recent.MoveToFront(s.place)
	}
	return s.zygote
}

// handOver makes dir belong to the user whose scripts are to read it.
func (a *app) handOver(dir string) error {
	if a.credential == nil {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, int(a.credential.Uid), int(a.credential.Gid)))
	})
}

// inspectLocked begins a record of a script.
func (f *accelerator) inspectLocked(asked script, id fileID) *compiled {
	s := &compiled{file: asked.file, id: id, persistent: f.app.isPersistent(asked.file)}
	perl, err := perlOf(asked)
	switch {
	case err != nil:
		f.giveUpLocked(s, err)
	case id.setsID():
		f.giveUpLocked(s, errors.New("it has a set-user-ID or set-group-ID bit"))
	}
	s.perl = perl
	return s
}

// giveUpLocked leaves a script to exec. It says why, once for each version of it.
func (f *accelerator) giveUpLocked(s *compiled, why error) {
	s.settleLocked(slow)
	s.why = why.Error()
	level := slog.LevelInfo
	switch {
	case errors.Is(why, errNotPerl):
		level = slog.LevelDebug // nobody expects it
	case f.app.Mode != ModeAuto || s.persistent:
		level = slog.LevelWarn
	}
	f.app.logger().Log(context.Background(), level, "script is run by exec, a new process for each request",
		slog.String("script", s.file), slog.Any("reason", why))
}

// loseLocked is called for a script whose zygote has ended, or has compiled what is
// not there any more.
func (f *accelerator) loseLocked(s *compiled) {
	s.failures++
	if s.zygote.isStale(s.used) || time.Since(s.zygote.since) > longEnough {
		s.failures = 0
	}
	f.dropZygoteLocked(s)
	s.state = untried
	if s.failures >= maxFailures {
		f.giveUpLocked(s, fmt.Errorf("%d processes that had compiled it have died", s.failures))
	}
}

// compile has a script compiled and puts its zygote in place. later names modules
// that the script loads while it runs.
func (f *accelerator) compile(s *compiled, env []string, later []string) {
	z, err := f.startZygote(s, env, later)
	if err == nil {
		if id, statErr := identify(s.file); statErr != nil || id != s.id {
			z.retire()
			err = errors.New("it was changed while it was compiled")
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	wanted := f.running && f.scripts[s.file] == s
	switch {
	case err == nil && !wanted:
		z.retire()
	case err == nil:
		f.dropZygoteLocked(s)
		s.zygote, s.place = z, f.recent.PushFront(s)
		s.settleLocked(fast)
		f.evictLocked()
		f.app.logger().Debug("script is compiled", slog.String("script", s.file), slog.Int("pid", z.proc.pid))
	case s.zygote == nil && wanted: // else the old one goes on
		f.giveUpLocked(s, err)
	}
}

// evictLocked keeps the number of zygotes within its limit.
func (f *accelerator) evictLocked() {
	for f.recent.Len() > f.app.AcceleratedScripts {
		s := f.recent.Back().Value.(*compiled)
		f.forgetLocked(s.file)
	}
}

// learn compiles a script anew, with modules that it has been seen to load while it
// ran. The zygote it has serves until then.
func (f *accelerator) learn(z *zygote, modules []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := f.scripts[z.file]
	if !f.running || s == nil || s.zygote != z || s.taught {
		return
	}
	s.taught = true
	f.tasks.Go(func() { f.compile(s, z.trigger, modules) })
}
