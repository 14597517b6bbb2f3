// Package worker runs worker processes that speak the wire protocol. It starts them, and recycles, replaces, drains and
// kills them. It knows neither the application that a worker runs nor the requests that it answers. The caller provides
// the command that starts a worker, and a Host, which gives the workers their work.
//
// With Preload the workers are forked by a zygote, a process that has loaded the application. The
// zygote itself serves no requests. A forked worker differs from a started one in two points only:
// how its process is made, and how the group learns of its end.
//
// One lock, Group.mu, guards the set of processes and the state of each. It is not held during I/O, nor while the host is
// called. The host has a lock of its own, which comes first: host, group, outbox, journal. What a host calls for each
// piece of work (Queue, Flush, Served, Relieved, MustWeigh, SetPaused, Circuit) takes no lock of the group's, save where
// its comment says so.
//
// The files, by what they are about:
//
//   - group.go starts and stops a group; options.go checks its options; host.go is who gives the workers work; status.go
//     tells what the group is doing.
//   - peer.go is a process with its connection, which connection.go introduces; package outbox has what is written to it.
//     process.go is a worker, state.go the stages of its life, and reader.go reads what it sends.
//   - spawn.go starts a process, with package internal/proc; fork.go has a zygote fork one; output.go and fifo.go read
//     what it prints, and package journal logs that.
//   - zygote.go is the process that forks workers; nursery.go keeps one at work.
//   - replace.go, recycle.go and circuit.go start workers in the place of others, attempts.go counts the starts that
//     fail, scale.go starts more or fewer workers, and watch.go looks regularly whether any of that is due.
//   - reload.go brings in workers with new code; source.go is where a generation of workers comes from.
//   - remains.go ends what workers leave behind.
package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/internal/journal"
	"github.com/pagi-go/pagi-bridge/internal/accept"
	"github.com/pagi-go/pagi-bridge/internal/private"
)

var (
	// ErrClosed: the group is stopping or was never started.
	ErrClosed = errors.New("the worker pool is closed")
	// ErrProtocol: the worker sent something that is not the wire protocol.
	ErrProtocol = errors.New("the worker broke the protocol")
	// ErrNoDescriptors: the worker has sent a descriptor on a connection that has none.
	ErrNoDescriptors = fmt.Errorf("%w: a descriptor where none may come", ErrProtocol)
)

// Group is a set of worker processes. New makes one, Start starts it and Stop
// ends it.
type Group struct {
	opt      Options
	host     Host
	log      *slog.Logger // the records of the group and the workers go through a journal
	journals journal.Journals
	home     home

	mu       sync.Mutex
	stage    stage
	workers  map[*Process]struct{}
	tokens   map[string]caller // the processes that have not said HELLO yet
	launched int
	size     size
	source   *source  // of the workers to be started
	starts   attempts // of workers
	reloads  reloads
	settled  chan error // nil except during Start; gets one value for each worker
	nursery  nursery    // used with Preload
	remains  remains
	counts   counts

	fuse fuse

	tasks sync.WaitGroup // every goroutine of the group
	hurry chan struct{}  // closed when no process gets any more grace
	halt  chan struct{}  // closed when the workers must end
	quit  chan struct{}  // closed when the goroutines must end
}

// stage is a stage in the life of a group.
//
//	fresh --Start--> running --Close--> closing --Stop--> stopping
//
// Only a running group starts processes.
type stage uint8

const (
	fresh stage = iota
	running
	closing
	stopping
)

// home is where the processes of a group connect to. It does not change after listen.
type home struct {
	dir      string       // the path of private
	private  *private.Dir // a directory for this group alone
	listener *net.UnixListener
}

// New returns a group that has not been started.
func New(opt Options, host Host) *Group {
	opt.setDefaults()
	g := &Group{
		opt:     opt,
		host:    host,
		workers: map[*Process]struct{}{},
		tokens:  map[string]caller{},
		remains: remains{},
		nursery: nursery{all: map[*zygote]struct{}{}},
		hurry:   make(chan struct{}),
		halt:    make(chan struct{}),
		quit:    make(chan struct{}),
	}
	g.doubtLocked()
	g.log = g.journals.Logger(opt.Logger).With("mount", opt.Name)
	return g
}

// journal returns the logger of one of the group's processes. Each process has a journal of its own.
func (g *Group) journal(kind string, id int) *slog.Logger {
	return g.journals.Logger(g.opt.Logger).With("mount", g.opt.Name, kind, id)
}

// Logger returns the logger for records about the group. It never blocks.
func (g *Group) Logger() *slog.Logger { return g.log }

// Start starts all workers (MinWorkers, if set) side by side, with Preload after the zygote. It
// returns when they are ready. If one fails, Start stops the others, and the error says why, in the
// worker's own words if there are any.
func (g *Group) Start(ctx context.Context) error {
	if err := g.listen(); err != nil {
		return err
	}
	g.mu.Lock()
	g.stage = running
	g.source, g.reloads.generation = &source{generation: 1}, 1
	g.size = size{want: g.opt.MinWorkers, least: g.opt.MinWorkers, most: g.opt.MaxWorkers}
	g.mu.Unlock()
	g.tasks.Go(g.accept)
	err := g.preload(ctx)
	if err == nil {
		g.mu.Lock()
		g.settled = make(chan error, g.size.want)
		for range g.size.want {
			g.launchLocked(nil)
		}
		g.mu.Unlock()
		g.tasks.Go(g.watch)
		err = g.awaitStart(ctx)
	}
	g.mu.Lock()
	g.settled = nil
	g.mu.Unlock()
	if err != nil {
		stopCtx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		cancel()
		err = errors.Join(err, g.Stop(stopCtx))
	}
	return err
}

// awaitStart waits for every worker of the first set, or for the first that fails.
func (g *Group) awaitStart(ctx context.Context) error {
	for range g.opt.MinWorkers {
		select {
		case err := <-g.settled:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return fmt.Errorf("start the workers: %w", context.Cause(ctx))
		}
	}
	return nil
}

// startedLocked gives Start, if Start is waiting, the result of a worker's start. It reports
// whether Start was waiting.
func (g *Group) startedLocked(err error) bool {
	select {
	case g.settled <- err:
		return true
	default: // also while settled is nil
		return false
	}
}

// maxSocketDir is about how long the path of a directory with a socket may be. The system allows
// 104 to 108 bytes for the whole path of the socket.
const maxSocketDir = 95

// listen makes the private directory and the socket in it.
func (g *Group) listen() error {
	made, err := private.Make("pool")
	if err != nil {
		return fmt.Errorf("make a directory for the workers: %w", err)
	}
	dir := made.Path()
	h := home{dir: dir, private: made}
	h.listener, err = net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(dir, "socket"), Net: "unix"})
	if err != nil && len(dir) > maxSocketDir {
		err = fmt.Errorf("%w (the directory's name is too long for a socket; set TMPDIR to a shorter one)", err)
	}
	g.home = h
	if err != nil {
		return errors.Join(fmt.Errorf("listen for the workers: %w", err), made.Remove())
	}
	return nil
}

// Close is the first part of Stop, for a host that waits for its work in between: no process is started any more, and a
// worker that gets ready is told to go.
func (g *Group) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stage == running {
		g.stage = closing
		g.refuseZygotesLocked()
	}
}

// Stop asks the workers to end, each once it has done its work. If ctx ends
// before the workers have, Stop sends them TERM, and KILL a second later at the latest. Processes
// that they have left behind are ended, too, unless these have a process group of their own. Stop
// returns once all processes and goroutines of the group have ended. It does nothing for a group that was never started,
// or has been stopped.
func (g *Group) Stop(ctx context.Context) error {
	g.Close()
	g.mu.Lock()
	if g.stage != closing {
		g.mu.Unlock()
		return nil
	}
	g.stage = stopping
	g.mu.Unlock()
	defer g.hurryAfter(ctx)()
	g.mu.Lock()
	all := make([]*Process, 0, len(g.workers))
	for w := range g.workers {
		all = append(all, w)
	}
	g.mu.Unlock()
	close(g.halt)
	var wg sync.WaitGroup
	for _, w := range all {
		wg.Go(func() { w.stop(ctx) })
	}
	wg.Wait()
	g.stopZygotes(ctx)
	close(g.quit)
	err := g.home.listener.Close()
	g.tasks.Wait()
	g.endRemains()
	g.journals.Flush()
	return errors.Join(err, g.home.private.Remove())
}

// lastGrace is the kill grace once the context of Stop has ended.
const lastGrace = time.Second

// hurryAfter closes hurry lastGrace after the end of ctx, unless release is called first.
func (g *Group) hurryAfter(ctx context.Context) (release func()) {
	released := make(chan struct{})
	var waiting sync.WaitGroup
	waiting.Go(func() {
		select {
		case <-ctx.Done():
		case <-released:
			return
		}
		grace := time.NewTimer(lastGrace)
		defer grace.Stop()
		select {
		case <-grace.C:
			close(g.hurry)
		case <-released:
		}
	})
	return func() {
		close(released)
		waiting.Wait()
	}
}

// RetryAfter estimates when work that was refused may be tried again.
func (g *Group) RetryAfter() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return max(time.Until(g.starts.nextTry), time.Until(g.nursery.starts.nextTry), time.Second)
}

// Dir returns the group's private directory; "" before Start.
func (g *Group) Dir() string { return g.home.dir }

// Give implements Crew. The workers have this process's own user, so there is nothing to do.
func (g *Group) Give(*os.File) error { return nil }

// accept takes the workers' connections.
func (g *Group) accept() {
	for {
		conn, err := accept.Connection(g.home.listener.AcceptUnix, g.quit, g.log, g.home.listener.Addr())
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				g.log.Error("no further worker can connect", "error", err)
			}
			return
		}
		g.tasks.Go(func() { g.greet(conn) })
	}
}
