// Package command is the command line of the gateway. It makes a site.Site of the flags and serves
// it until a signal comes. A Go program can register its own applications and middleware and then
// call this package to be a complete gateway:
//
//	func main() {
//		site.RegisterApp("hello", func() pagi.App { return &Hello{} })
//		command.Main()
//	}
package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/lines"
	"github.com/pagi-go/pagi-bridge/plugin/adapter"
	"github.com/pagi-go/pagi-bridge/plugin/adapters"
	"github.com/pagi-go/pagi-bridge/server"
)

// Exit codes.
const (
	ExitOK      = 0 // served and stopped as asked, or help, version or -t succeeded
	ExitFailure = 1 // could not start, or failed while serving or stopping
	ExitUsage   = 2 // a wrong flag, a wrong site file, a missing file
)

// Main runs the command line of this process and exits. The first TERM or INT stops gracefully, a
// second one at once. HUP reloads the site, USR1 opens the log files again, and USR2 starts a
// process that replaces this one. TTIN and TTOU add a Perl worker to each mount or remove one.
func Main() {
	if adapter.IsCommand(os.Args) { // it confines itself before it does anything else
		os.Exit(adapter.Main(os.Args))
	}
	debug.SetTraceback("crash") // a panic ends by a signal, because its exit code would be ExitUsage
	outliveReaders()
	neverBlock(os.Stderr)
	start := &beginning{}
	ctx, stop := server.SignalContext(context.Background())
	process, err := System()
	process.procs = fitProcs(ctx)
	fitCollector(ctx)
	if err != nil {
		process.exit(complain(process, ExitFailure, err))
	}
	process.Hangups, process.Reopens, process.Restarts = notify(syscall.SIGHUP), notify(syscall.SIGUSR1), notify(syscall.SIGUSR2)
	if !isTerminal(os.Stderr) { // which sends them itself, and for a write again and again
		process.More, process.Fewer = notify(syscall.SIGTTIN), notify(syscall.SIGTTOU)
	}
	process.beginning = start
	context.AfterFunc(ctx, func() {
		switch {
		case !start.giveUp():
		case start.testing.Load():
			process.exit(complain(process, ExitFailure, errors.New("interrupted")))
		default:
			process.exit(ExitOK)
		}
	})
	code := Run(ctx, os.Args[1:], process)
	stop()
	process.exit(code)
}

// exit ends the process. It waits a moment for lines on their way to standard error. A reader that
// takes nothing does not keep the process alive.
func (p Process) exit(code int) {
	if p.errors != nil {
		_ = p.errors.Close(logPatience) // there is nowhere else to report an error
	}
	os.Exit(code)
}

// beginning is the phase in which the process reads flags and site files. A file system that does
// not answer may block it for ever. A stop has nothing to clean up yet, so a signal ends the
// process at once.
type beginning struct {
	state   atomic.Int32
	testing atomic.Bool // the process only tests a site file
}

// How a beginning has ended.
const (
	beginningOver  = 1
	beginningEnded = 2
)

// isOver ends the beginning: from now on the process checks its context. If a signal is ending the
// process already, isOver does not return.
func (b *beginning) isOver() {
	if b != nil && !b.state.CompareAndSwap(0, beginningOver) && b.state.Load() == beginningEnded {
		select {}
	}
}

// isTest notes that the process only tests a site file.
func (b *beginning) isTest() {
	if b != nil {
		b.testing.Store(true)
	}
}

// giveUp reports whether a signal must end the process at once.
func (b *beginning) giveUp() bool { return b.state.CompareAndSwap(0, beginningEnded) }

// outliveReaders has a write to standard output or standard error fail when its reader has gone,
// instead of ending the process by SIGPIPE. The signal is caught rather than ignored, so that
// programs started by this process have the system's default.
func outliveReaders() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

// notify returns a channel that yields a signal. It keeps one signal while another one is being
// handled.
func notify(s os.Signal) <-chan os.Signal {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, s)
	return signals
}

// Process describes the process in which Run runs.
type Process struct {
	// Run writes to Stderr while requests are served, so Stderr must not block.
	Stdout, Stderr io.Writer
	// LookupEnv reads the environment with which this process was started. Setenv changes the
	// environment of child processes.
	LookupEnv func(string) (string, bool)
	Setenv    func(name, value string) error
	// Interactive says whether a person uses the process: standard input is a terminal.
	Interactive bool
	// Terminal says whether standard error is a terminal.
	Terminal bool
	// Hangups yields the signals to reload the site, Reopens those to open the log files again,
	// Restarts those to start a process that replaces this one. More and Fewer yield the signals to
	// add or remove one Perl worker.
	Hangups, Reopens, Restarts, More, Fewer <-chan os.Signal

	beginning *beginning      // nil: the process always checks its context
	errors    *lines.Writer   // Stderr, if it is one
	environ   []string        // the environment at the start, for a process that replaces this one
	program   string          // the program of that process
	sockets   []server.Socket // that systemd has opened
	procs     *procs          // nil: GOMAXPROCS is fixed
	takeover  *takeover       // what another process of the program has passed; nil: nothing
	adapters  bool            // this program can be started as an adapter
}

// System describes this process. It reads once what systemd, or the process that this one replaces,
// has passed.
func System() (Process, error) {
	errors := lines.New(os.Stderr, lines.Options{})
	p := Process{
		Stdout: os.Stdout, Stderr: errors, errors: errors, adapters: true,
		LookupEnv: lookupIn(os.Environ()), Setenv: os.Setenv,
		Interactive: isTerminal(os.Stdin), Terminal: isTerminal(os.Stderr),
	}
	var err error
	if p.takeover, err = receiveTakeover(); err != nil {
		return p, err
	}
	if p.takeover != nil {
		p.sockets = p.takeover.sockets
	} else {
		p.sockets = systemdSockets()
	}
	p.environ = environment()
	if err := forgetPrivate(); err != nil {
		return p, err
	}
	p.program, err = ownProgram()
	return p, err
}

// newAdapters returns what keeps mounts in other processes, nil where this program cannot be started as an adapter.
func (p *Process) newAdapters(opt adapters.Options) *adapters.Adapters {
	if !p.adapters {
		return nil
	}
	opt.Version = version()
	return adapters.New(opt)
}

// lookupIn returns an os.LookupEnv for a copy of environ.
func lookupIn(environ []string) func(string) (string, bool) {
	values := make(map[string]string, len(environ))
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		values[name] = value
	}
	return func(name string) (string, bool) {
		value, ok := values[name]
		return value, ok
	}
}

// ownProgram returns the path by which this program was started. At the next start that path may
// have a newer program.
func ownProgram() (string, error) {
	path, err := exec.LookPath(os.Args[0])
	if err != nil {
		return os.Executable()
	}
	return filepath.Abs(path)
}

// Run carries out a command line and returns the exit code. It serves until ctx
// ends.
func Run(ctx context.Context, args []string, p Process) int {
	if len(args) > 0 {
		if make, is := commands[args[0]]; is {
			return make().carryOut(ctx, args[1:], p)
		}
	}
	options, err := parseFlags(args)
	switch {
	case err != nil:
		return complain(p, ExitUsage, err, "Try 'pagi-bridge --help'.")
	case options.help:
		return say(p, usage())
	case options.version:
		return say(p, versionLine()+"\n")
	}
	if options.test {
		p.beginning.isTest()
	}
	s, err := options.site(p)
	if err != nil {
		return complain(p, ExitUsage, err)
	}
	switch {
	case options.test:
		s.Logger = slog.New(slog.DiscardHandler)
		s.Adapters = p.newAdapters(adapters.Options{})
		if _, err := s.Build(); err != nil {
			return complain(p, ExitUsage, err)
		}
		warnings, err := test(s, p)
		if err == nil && options.compile {
			err = compile(ctx, s)
		}
		if err != nil {
			return complain(p, ExitUsage, err)
		}
		warn(p, warnings)
		return say(p, testedLine(s))
	case options.daemonize && p.takeover == nil:
		p.beginning.isOver()
		return background(ctx, args, p)
	}
	return (&gateway{options: options, args: args, process: p, began: time.Now(), asks: make(chan ask), drainer: newDrainer()}).serve(ctx, s)
}

// complain writes an error and hints, and returns code. A process that waits for this one gets the
// error, too.
func complain(p Process, code int, err error, hints ...string) int {
	text := fmt.Sprintf("pagi-bridge: %v\n", err)
	for _, h := range hints {
		text += h + "\n"
	}
	_, _ = io.WriteString(p.Stderr, text) // there is nowhere else to report an error
	_ = p.takeover.tell(err.Error())      // the waiting process also notices the end of this one
	return code
}

func say(p Process, text string) int {
	if _, err := io.WriteString(p.Stdout, text); err != nil {
		return complain(p, ExitFailure, err)
	}
	return ExitOK
}
