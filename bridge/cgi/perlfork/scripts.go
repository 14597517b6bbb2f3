//go:build linux && (amd64 || arm64 || riscv64)

package perlfork

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/cgi/internal/job"
	"github.com/pagi-go/pagi-bridge/internal/private"
	"github.com/pagi-go/pagi-bridge/internal/proc"
)

// canFork says whether scripts can be compiled once on this system.
const canFork = true

const (
	// idleAfter is how long a script that is not asked for stays compiled.
	idleAfter = 10 * time.Minute
	// sweepEvery is how often such scripts are looked for.
	sweepEvery = 30 * time.Second
	// lookEvery is how often the files that a script has loaded are looked at.
	lookEvery = time.Second
	// longEnough is how long a zygote must have lived for its death not to count.
	longEnough = 10 * time.Second
	// maxFailures is how many zygotes of a script may die, or be of no more use, soon and in a row before it is left
	// to exec.
	maxFailures = 3
	// compileAgainAfter is how long a script that could not be compiled for a reason that
	// may pass is run by exec.
	compileAgainAfter = 10 * time.Second
	// leastFiles is the limit of open files from which on zygotes work: a process takes in
	// four descriptors beside those of the script.
	leastFiles = 16
)

// Scripts are the Perl scripts of a mount, those that are compiled among them. It keeps them compiled between Start and
// Stop: every process it has started ends with Stop, but for those that run a request.
type Scripts struct {
	config   Config
	profile  *proc.Profile // of zygotes: processor time is each run's own
	forkTime time.Duration // how long a zygote may take to fork
	tasks    sync.WaitGroup

	mu       sync.Mutex
	running  bool
	dir      string          // where private is: it holds the Perl side
	private  *private.Dir    // nil before Start
	ctx      context.Context // ends with Stop
	halt     context.CancelFunc
	scripts  map[string]*version // by file
	recent   list.List           // of *version with a zygote, the last used first
	children map[int]struct{}    // numbers of the processes that zygotes have forked
}

// New returns the scripts of a mount, none of which is compiled yet.
func New(c Config) *Scripts {
	return &Scripts{
		config: c, profile: c.Profile.WithoutCPU(), forkTime: usualForkTime,
		scripts: map[string]*version{}, children: map[int]struct{}{},
	}
}

// Start lets scripts be compiled from now on. What stands in the way of that is an error, in mode auto only a warning.
// Where the system does not let us trace processes it is a warning in all modes.
func (f *Scripts) Start() error {
	if f.config.Mode == ModeExec {
		return nil
	}
	if err := tryTracing(); err != nil {
		f.config.Logger().Warn("cgi: all scripts are run by exec", "reason", err)
		return nil
	}
	err := f.begin()
	if err != nil && f.config.Mode == ModeAuto && len(f.config.Persistent) == 0 {
		f.config.Logger().Warn("cgi: all scripts are run by exec", "reason", err)
		return nil
	}
	return err
}

func (f *Scripts) begin() error {
	if limit := f.config.Profile.Limits().OpenFiles; limit > 0 && limit < leastFiles {
		return fmt.Errorf("cgi: open_files: mode %s needs at least %d", f.config.Mode, leastFiles)
	}
	dir, err := f.extract()
	if err != nil {
		return fmt.Errorf("cgi: write down the Perl side: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dir, f.private, f.running = dir.Path(), dir, true
	f.ctx, f.halt = context.WithCancel(context.Background())
	f.tasks.Go(f.sweep)
	return nil
}

// Stop ends all zygotes, and the processes that wait for a request. Requests that run go on.
func (f *Scripts) Stop() {
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
	if err := f.private.Remove(); err != nil {
		f.config.Logger().Warn("cgi: remove the directory of the Perl side", "error", err)
	}
}

// spawn calls task in a goroutine that Stop waits for. After Stop it calls task itself.
func (f *Scripts) spawn(task func()) {
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

// sweep drops the scripts that no request asks for any more.
func (f *Scripts) sweep() {
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
func (f *Scripts) sweepOnce(now time.Time) (quiet []*zygote) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for file, s := range f.scripts {
		switch idle := now.Sub(s.used); {
		case s.state == Compiling:
		case idle > idleAfter:
			f.forgetLocked(file)
		case s.state == Compiled && idle > sweepEvery:
			quiet = append(quiet, s.zygote)
		}
	}
	return quiet
}

// forgetLocked drops a script and ends its zygote.
func (f *Scripts) forgetLocked(file string) {
	s := f.scripts[file]
	if s == nil {
		return
	}
	delete(f.scripts, file)
	f.dropZygoteLocked(s)
	s.settleLocked(Replaced)
}

func (f *Scripts) dropZygoteLocked(s *version) {
	if s.place != nil {
		f.recent.Remove(s.place)
		s.place = nil
	}
	if z := s.zygote; z != nil {
		s.zygote = nil
		z.retire()
	}
}

// Run has a process that has compiled the script run a request. It returns nil where a new process is to run it.
func (f *Scripts) Run(ctx context.Context, r Request) job.Job {
	if f.config.Mode == ModeExec {
		return nil
	}
	z := f.zygoteFor(ctx, &r)
	if z == nil || !z.accepts(r.Env) {
		return nil
	}
	return z.run(ctx, &r)
}

// zygoteFor returns the zygote of a script, nil while there is none.
func (f *Scripts) zygoteFor(ctx context.Context, asked *Request) *zygote {
	id, err := identify(asked.File)
	if err != nil {
		return nil
	}
	s := f.find(asked, id)
	if s == nil {
		return nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.running || f.scripts[asked.File] != s {
		return nil // it has changed again
	}
	s.used = time.Now()
	s.requests++
	if z := s.zygote; s.state == Compiled {
		f.mu.Unlock()
		lost := z.isGone() || z.isStale(time.Now())
		f.mu.Lock()
		if lost && s.zygote == z {
			f.loseLocked(s)
		}
	}
	auto := f.config.Mode == ModeAuto && !s.persistent
	if s.state == Untried && (!auto || s.requests >= Worthwhile) && f.running && !s.used.Before(s.again) {
		s.state, s.settled = Compiling, make(chan struct{})
		env := asked.Env
		f.tasks.Go(func() { f.compile(s, env) })
	}
	if s.state == Compiling && !auto {
		settled := s.settled
		f.mu.Unlock()
		select {
		case <-settled:
		case <-ctx.Done():
		}
		f.mu.Lock()
	}
	if s.state != Compiled {
		return nil
	}
	if s.place != nil {
		f.recent.MoveToFront(s.place)
	}
	return s.zygote
}

// find returns the record of a version of a script, nil after Stop.
func (f *Scripts) find(asked *Request, id fileID) *version {
	f.mu.Lock()
	s, running := f.scripts[asked.File], f.running
	f.mu.Unlock()
	if !running || s != nil && s.id == id {
		return s
	}
	perl, err := perlOf(asked.File, asked.Interpreter) // it reads the script, which may take its time
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.scripts[asked.File]; s != nil && s.id == id || !f.running {
		return s
	}
	f.forgetLocked(asked.File)
	s = &version{file: asked.File, id: id, perl: perl, persistent: f.config.isPersistent(asked.File)}
	switch {
	case err != nil:
		f.giveUpLocked(s, err)
	case id.setsID():
		f.giveUpLocked(s, errors.New("it has a set-user-ID or set-group-ID bit"))
	}
	f.scripts[asked.File] = s
	return s
}

// giveUpLocked leaves a script to exec. It says why, once for each version of it.
func (f *Scripts) giveUpLocked(s *version, why error) {
	s.settleLocked(Refused)
	s.why = why.Error()
	level := slog.LevelInfo
	switch {
	case errors.Is(why, errNotPerl):
		level = slog.LevelDebug // no operator expects such a script to be compiled
	case f.config.Mode != ModeAuto || s.persistent:
		level = slog.LevelWarn
	}
	f.config.Logger().Log(context.Background(), level, "script is run by exec, a new process for each request",
		slog.String("script", s.file), slog.Any("reason", why))
}

// loseLocked is called when the zygote of a script has ended, or when files have changed that it has looked at. A script whose
// files change again and again is left to exec for a while.
func (f *Scripts) loseLocked(s *version) {
	z := s.zygote
	soon := time.Since(z.since) <= longEnough
	f.dropZygoteLocked(s)
	s.state = Untried
	if z.wasStale() {
		s.failures = 0
		if s.changes++; !soon {
			s.changes = 0
		}
		if s.changes >= maxFailures {
			s.changes, s.again = 0, s.used.Add(compileAgainAfter)
			f.config.Logger().Info("files that a script looks at while it is compiled change often: it is run by exec", slog.String("script", s.file),
				slog.Duration("try_again_after", compileAgainAfter))
		}
		return
	}
	if s.failures++; !soon {
		s.failures = 0
	}
	if s.failures >= maxFailures {
		f.giveUpLocked(s, fmt.Errorf("%d processes that had compiled it have died", s.failures))
	}
}

// compile has a script compiled and puts its zygote in place.
func (f *Scripts) compile(s *version, env []string) {
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
		s.zygote, s.place = z, f.recent.PushFront(s)
		s.settleLocked(Compiled)
		f.evictLocked()
		f.config.Logger().Debug("script is compiled", slog.String("script", s.file), slog.Int("pid", z.proc.Pid()))
	case !wanted:
	case errors.As(err, new(transientError)):
		s.settleLocked(Untried)
		s.again = time.Now().Add(compileAgainAfter)
		f.config.Logger().Warn("script cannot be compiled just now and is run by exec", slog.String("script", s.file),
			slog.Any("reason", err), slog.Duration("try_again_after", compileAgainAfter))
	default:
		f.giveUpLocked(s, err)
	}
}

// evictLocked keeps the number of zygotes within its limit.
func (f *Scripts) evictLocked() {
	for f.recent.Len() > f.config.AcceleratedScripts {
		s := f.recent.Back().Value.(*version)
		f.forgetLocked(s.file)
	}
}

// Dir returns the directory that holds the Perl side, "" before Start.
func (f *Scripts) Dir() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dir
}

// IsPersistent reports whether the processes of a script answer one request after another, once it is compiled.
func (f *Scripts) IsPersistent(file string) bool { return f.config.isPersistent(file) }

// Status tells what is known of each script.
func (f *Scripts) Status() []Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]Status, 0, len(f.scripts))
	for _, s := range f.scripts {
		status := Status{File: s.file, State: s.state, Persistent: s.persistent, Reason: s.why, Again: s.again, Requests: s.requests, Used: s.used}
		if s.zygote != nil && !s.zygote.isGone() {
			status.PID = s.zygote.proc.Pid()
			status.Processes, status.Idle = s.zygote.supply.state()
		}
		all = append(all, status)
	}
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.File, b.File) })
	return all
}
