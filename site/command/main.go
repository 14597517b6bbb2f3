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
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

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
// stops gracefully, a second one at once; HUP reloads the applications.
func Main() {
	relaxGC()
	ctx, stop := server.SignalContext(context.Background())
	fitProcs(ctx)
	hangups := make(chan os.Signal, 1) // during a reload one more is remembered
	signal.Notify(hangups, syscall.SIGHUP)
	process := System()
	process.Hangups = hangups
	code := Run(ctx, os.Args[1:], process)
	stop()
	os.Exit(code)
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
	// LookupEnv is os.LookupEnv; Setenv tells child processes the environment.
	LookupEnv func(string) (string, bool)
	Setenv    func(name, value string) error
	// Interactive says whether a person is sitting there: standard input is a
	// terminal.
	Interactive bool
	// Hangups yields the signals at which the applications are reloaded.
	Hangups <-chan os.Signal
}

// System is this process.
func System() Process {
	return Process{
		Stdout: os.Stdout, Stderr: os.Stderr,
		LookupEnv: os.LookupEnv, Setenv: os.Setenv,
		Interactive: isTerminal(os.Stdin),
	}
}

// Run carries out a command line and returns the exit code. It serves until ctx
// ends.
func Run(ctx context.Context, args []string, p Process) int {
	options, err := parseFlags(args)
	switch {
	case err != nil:
		return complain(p.Stderr, ExitUsage, err, "Try 'pagi-bridge --help'.")
	case options.help:
		return say(p, usage())
	case options.version:
		return say(p, versionLine()+"\n")
	}
	s, err := options.site(p)
	if err != nil {
		return complain(p.Stderr, ExitUsage, err)
	}
	logger := newLogger(p.Stderr, s.Settings.LogLevel)
	s.Logger = logger
	app, err := s.Build()
	if err != nil {
		return complain(p.Stderr, ExitUsage, err)
	}
	srv := s.Settings.Server()
	srv.App, srv.Logger = app, logger
	if options.test {
		return say(p, testedLine(s))
	}
	if err := p.Setenv("PAGI_ENV", s.Settings.Environment); err != nil {
		return complain(p.Stderr, ExitFailure, err)
	}
	return serve(ctx, s, srv, options.quiet, p)
}

// serve opens the access log, runs the server and reports how it ended.
func serve(ctx context.Context, s *site.Site, srv *server.Server, quiet bool, p Process) (code int) {
	access, closeAccess, err := openAccessLog(s, p.Stderr)
	if err != nil {
		return complain(p.Stderr, ExitUsage, err)
	}
	srv.AccessLog = access
	ready := make(chan struct{})
	srv.Ready = func(addrs []net.Addr) {
		if !quiet {
			banner(p.Stderr, s, addrs)
		}
		close(ready)
	}
	stopReloading := besides(ctx, func(ctx context.Context) {
		(&reloader{s, srv.Logger}).run(ctx, p.Hangups, ready)
	})
	err = srv.Run(ctx)
	stopReloading()
	err = errors.Join(err, closeAccess())
	if err != nil {
		return complain(p.Stderr, ExitFailure, err)
	}
	if !quiet {
		fmt.Fprintln(p.Stderr, "Stopped.")
	}
	return ExitOK
}

// openAccessLog returns what the access log goes to; nil for none.
func openAccessLog(s *site.Site, stderr io.Writer) (io.Writer, func() error, error) {
	nothing := func() error { return nil }
	to := s.Settings.AccessLog
	if to == "" && s.Development() {
		to = "-"
	}
	switch to {
	case "", "off":
		return nil, nothing, nil
	case "-":
		return stderr, nothing, nil
	}
	f, err := os.OpenFile(to, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, nil, fmt.Errorf("access log: %w", err)
	}
	return f, f.Close, nil
}

func newLogger(w io.Writer, level string) *slog.Logger {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil { // "" and what Build is about to refuse
		l = slog.LevelInfo
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: l}))
}

// complain writes an error and hints, and returns code.
func complain(w io.Writer, code int, err error, hints ...string) int {
	fmt.Fprintf(w, "pagi-bridge: %v\n", err)
	for _, h := range hints {
		fmt.Fprintln(w, h)
	}
	return code
}

func say(p Process, text string) int {
	if _, err := io.WriteString(p.Stdout, text); err != nil {
		return complain(p.Stderr, ExitFailure, err)
	}
	return ExitOK
}
