//go:build linux && (amd64 || arm64 || riscv64)

package cgi

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
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
	// compileAgainAfter is how long a script that could not be compiled for a reason that
	// may pass is run by exec.
	compileAgainAfter = 10 * time.Second
	// leastFiles is the limit of open files from which on zygotes work: a process takes in
	// four descriptors beside those of the script.
	leastFiles = 16
)

// accelerator keeps Perl scripts compiled. It does so between start and stop, which
// are the lifespan's: every process it has started ends with stop.
type accelerator struct {
	app      *app
	forkTime time.Duration // how long a zygote may take to fork
	tasks    sync.WaitGroup

	mu       sync.Mutex
	running  bool
	dir      string          // private, holds the Perl side
	ctx      context.Context // ends with stop
	halt     context.CancelFunc
	scripts  map[string]*compiled // by file
	recent   list.List            // of *compiled with a zygote, the last used first
	children map[int]struct{}     // pids of what zygotes have forked
}

func newAccelerator(a *app) *accelerator {
	return &accelerator{app: a, forkTime: usualForkTime, scripts: map[string]*compiled{}, children: map[int]struct{}{}}
}

// start makes scripts be compiled from now on. In mode auto what stands in the way of
// that is a warning.
func (f *accelerator) start() error {
	if f.app.Mode == ModeExec {
		return nil
	}
	err := f.prepare()
	if err != nil && f.app.Mode == ModeAuto && len(f.app.Persistent) == 0 {
		f.app.logger().Warn("cgi: all scripts are run by exec", "reason", err)
		return nil
	}
	return err
}

func (f *accelerator) prepare() error {
	if f.app.OpenFiles > 0 && f.app.OpenFiles < leastFiles {
		return fmt.Errorf("cgi: open_files: mode %s needs at least %d", f.app.Mode, leastFiles)
	}
	dir, err := f.app.extract()
	if err != nil {
		return fmt.Errorf("cgi: write down the Perl side: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dir, f.running = dir, true
	f.ctx, f.halt = context.WithCancel(context.Background())
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

// spawn calls task in a goroutine that stop waits for; after stop in this one.
func (f *accelerator) spawn(task func()) {
	f.mu.Lock()
	running := f.running
	if running {
		f.tasks.Go(task)
	}
	f.mu.Unlock()
	if !running {
		task()
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

// process returns a process that has compiled the script of r, or nil where exec is to run
// it.
func (f *accelerator) process(r *run, c command) *process {
	if f.app.Mode == ModeExec {
		return nil
	}
	z := f.zygoteFor(r.ctx, r.script, c.env)
	if z == nil || !z.accepts(c.env) {
		return nil
	}
	return z.process(r, c)
}

// zygoteFor returns the zygote of a script, nil while there is none.
func (f *accelerator) zygoteFor(ctx context.Context, asked script, env []string) *zygote {
	id, err := identify(asked.file)
	if err != nil {
		return nil
	}
	s := f.find(asked, id)
	if s == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.running || f.scripts[asked.file] != s {
		return nil // it has changed again
	}
	s.used = time.Now()
	s.requests++
	if z := s.zygote; s.state == fast {
		f.mu.Unlock()
		lost := z.isGone() || z.isStale(time.Now())
		f.mu.Lock()
		if lost && s.zygote == z {
			f.loseLocked(s)
		}
	}
	auto := f.app.Mode == ModeAuto && !s.persistent
	if s.state == untried && (!auto || s.requests >= worthwhile) && f.running && !s.used.Before(s.again) {
		s.state, s.settled = compiling, make(chan struct{})
		f.tasks.Go(func() { f.compile(s, env) })
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

// find returns the record of a version of a script, nil after stop.
func (f *accelerator) find(asked script, id fileID) *compiled {
	f.mu.Lock()
	s, running := f.scripts[asked.file], f.running
	f.mu.Unlock()
	if !running || s != nil && s.id == id {
		return s
	}
	perl, err := perlOf(asked) // it reads the script, which may take its time
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.scripts[asked.file]; s != nil && s.id == id || !f.running {
		return s
	}
	f.forgetLocked(asked.file)
	s = &compiled{file: asked.file, id: id, perl: perl, persistent: f.app.isPersistent(asked.file)}
	switch {
	case err != nil:
		f.giveUpLocked(s, err)
	case id.setsID():
		f.giveUpLocked(s, errors.New("it has a set-user-ID or set-group-ID bit"))
	}
	f.scripts[asked.file] = s
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

// compile has a script compiled and puts its zygote in place.
func (f *accelerator) compile(s *compiled, env []string) {
	z, err := f.startZygote(s, env)
	if err == nil {
		if id, statErr := identify(s.file); statErr != nil || id != s.id {
			z.retire()
			err = transientError{errors.New("it was changed while it was compiled")}
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
	case s.zygote != nil || !wanted: // the old one goes on
	case errors.As(err, new(transientError)):
		s.settleLocked(untried)
		s.again = time.Now().Add(compileAgainAfter)
		f.app.logger().Warn("script cannot be compiled just now and is run by exec", slog.String("script", s.file),
			slog.Any("reason", err), slog.Duration("try_again_after", compileAgainAfter))
	default:
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
