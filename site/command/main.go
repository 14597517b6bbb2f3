// Package command is the command line of the gateway: flags in, a site.Site out,
// served until a signal comes. It is a package of its own so that a Go program can
// register its own applications and middleware and be a gateway like any other:
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
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pagi-go/pagi-bridge/server"
	"github.com/pagi-go/pagi-bridge/site"
)

// Exit codes.
const (
	ExitOK      = 0 // served and stopped as asked; help, version or -t were fine
	ExitFailure = 1 // could not start, or broke while serving or stopping
	ExitUsage   = 2 // a wrong flag, a wrong site file, a file that is not there
)

// Main runs the command line of this process and exits. The first TERM or INT
// stops gracefully, a second one at once; HUP reloads the site, USR1 opens log files
// anew, USR2 has another process take this one's place, and TTIN and TTOU add a Perl
// worker to each mount or take one away.
func Main() {
	relaxGC()
	debug.SetTraceback("crash") // ends by a signal: the exit code of a panic is ExitUsage
	ctx, stop := server.SignalContext(context.Background())
	process, err := System()
	process.procs = fitProcs(ctx)
	if err != nil {
		os.Exit(complain(process, ExitFailure, err))
	}
	process.Hangups, process.Reopens, process.Restarts = notify(syscall.SIGHUP), notify(syscall.SIGUSR1), notify(syscall.SIGUSR2)
	if !isTerminal(os.Stderr) { // which sends them itself, and for a write again and again
		process.More, process.Fewer = notify(syscall.SIGTTIN), notify(syscall.SIGTTOU)
	}
	code := Run(ctx, os.Args[1:], process)
	stop()
	os.Exit(code)
}

// notify returns a channel that yields a signal; one is remembered while another is
// dealt with.
func notify(s os.Signal) <-chan os.Signal {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, s)
	return signals
}

// relaxGC lets the heap grow to about 16 MiB before the first collection and to
// five times what is in use later, unless the environment variable GOGC says
// something else. A request leaves some kilobytes of garbage, and with Go's own
// setting a busy gateway of a few megabytes collects dozens of times per second.
func relaxGC() {
	if _, set := os.LookupEnv("GOGC"); !set {
		debug.SetGCPercent(400)
	}
}

// Process is what Run knows of the process it runs in.
type Process struct {
	Stdout, Stderr io.Writer
	// LookupEnv looks into the environment this process was started with; Setenv tells
	// child processes another one.
	LookupEnv func(string) (string, bool)
	Setenv    func(name, value string) error
	// Interactive says whether a person is sitting there: standard input is a
	// terminal.
	Interactive bool
	// Hangups yields the signals at which the site is reloaded, Reopens those at which
	// log files are opened anew, Restarts those at which another process of the program
	// takes this one's place, More and Fewer those that ask for one Perl worker more or
	// fewer.
	Hangups, Reopens, Restarts, More, Fewer <-chan os.Signal

	environ  []string        // the environment at the start, for another process
	program  string          // what to start for it
	sockets  []server.Socket // that systemd has opened
	procs    *procs          // nil: none that follow what is used
	takeover *takeover       // what another process of the program has passed; nil: nothing
}

// System is this process. What it was passed by systemd, or by the process whose place
// it takes, is read once.
func System() (Process, error) {
	p := Process{
		Stdout: os.Stdout, Stderr: os.Stderr,
		LookupEnv: lookupIn(os.Environ()), Setenv: os.Setenv,
		Interactive: isTerminal(os.Stdin),
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
	p.program, err = ownProgram()
	return p, err
}

// lookupIn returns an os.LookupEnv for an environment, whatever becomes of it.
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

// ownProgram is the path this program was started by: what stands there when it is
// started again may be a newer one.
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
	if len(args) > 0 && args[0] == "status" {
		return status(ctx, args[1:], p)
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
	s, err := options.site(p)
	if err != nil {
		return complain(p, ExitUsage, err)
	}
	switch {
	case options.test:
		s.Logger = slog.New(slog.DiscardHandler)
		if _, err := s.Build(); err != nil {
			return complain(p, ExitUsage, err)
		}
		if err := checkPlaces(&s.Settings); err != nil {
			return complain(p, ExitUsage, err)
		}
		return say(p, testedLine(s))
	case options.daemonize && p.takeover == nil:
		return background(ctx, args, p)
	}
	return (&gateway{options: options, args: args, process: p, began: time.Now()}).serve(ctx, s)
}

// checkPlaces reports files that cannot be made because their directories are missing.
func checkPlaces(s *site.Settings) error {
	places := map[string]string{"log_file": s.LogFile, "pid_file": s.PidFile}
	if s.AccessLog != "-" && s.AccessLog != "off" {
		places["access_log"] = s.AccessLog
	}
	if s.StatusSocket != "" {
		places["status_socket"] = filepath.Dir(s.StatusSocket) // which is made itself
	}
	var errs []error
	for _, option := range slices.Sorted(maps.Keys(places)) {
		if places[option] == "" {
			continue
		}
		dir := filepath.Dir(places[option])
		if info, err := os.Stat(dir); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", option, err))
		} else if !info.IsDir() {
			errs = append(errs, fmt.Errorf("%s: %s is no directory", option, dir))
		}
	}
	return errors.Join(errs...)
}

// complain writes an error and hints, and returns code. A process that waits for this
// one is told, too.
func complain(p Process, code int, err error, hints ...string) int {
	fmt.Fprintf(p.Stderr, "pagi-bridge: %v\n", err)
	for _, h := range hints {
		fmt.Fprintln(p.Stderr, h)
	}
	_ = p.takeover.tell(err.Error()) // it sees our end, too
	return code
}

func say(p Process, text string) int {
	if _, err := io.WriteString(p.Stdout, text); err != nil {
		return complain(p, ExitFailure, err)
	}
	return ExitOK
}
