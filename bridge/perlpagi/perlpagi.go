// Package perlpagi runs PAGI applications that are written in Perl, in worker processes with an event loop, as a
// pagi.App.
//
// A worker serves many scopes at once: requests, WebSockets, event streams. Each worker calls the application for a
// lifespan of its own. Streams go to the worker with the fewest. docs/pagi-perl.md is the page for users. The Perl side
// is perl/lib/PagiBridge/PAGI.pm and what is below it.
package perlpagi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/internal/perlprocess"
	"github.com/pagi-go/pagi-bridge/bridge/lease"
	"github.com/pagi-go/pagi-bridge/bridge/mux"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/shared"
	"github.com/pagi-go/pagi-bridge/internal/tally"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/perl"
)

// PAGI is a PAGI application in Perl. One of App, Module and Code is required; the zero value of everything else
// works.
//
// The lifespan startup event starts its workers, so it needs a server that sends this event: server.Server, a URLMap
// below it, or pagitest.
type PAGI struct {
	// App is the application's file, app.pl for example. It returns a code reference, or an object with to_app. A
	// relative name is relative to Dir.
	App string `yaml:"app" path:"yes"`
	// Module is a Perl module instead of a file: PAGI::App::File for example. The application is
	// MODULE->new(Args)->to_app.
	Module string `yaml:"module"`
	// Args are the arguments of the module.
	Args map[string]string `yaml:"args"`
	// Code is Perl code that returns the application, instead of a file.
	Code string `yaml:"code" expand:"no"`
	// Modules are loaded before it, as perl's -M does: "Module" or "Module=import,list".
	Modules []string `yaml:"modules"`
	// Lib are directories put in front of @INC, as perl's -I does.
	Lib []string `yaml:"lib" path:"yes"`
	// Perl is the perl to run; "perl" by default. A name without a slash is looked up in PATH; another relative name
	// is relative to Dir.
	Perl string `yaml:"perl"`
	// Dir is the working directory of the workers; by default the gateway's.
	Dir string `yaml:"dir" path:"yes"`
	// Environment is the value of PLACK_ENV; "deployment" by default. PAGI_ENV is "production" then, else the same. In
	// "development" an exception is shown to the client.
	Environment string `yaml:"environment"`
	// Env is added to the environment of the workers, which is the gateway's.
	Env map[string]string `yaml:"env"`
	// LocalLib are directories as local::lib and carton make them. DIR/lib/perl5 is put in front of PERL5LIB, and so
	// comes after Lib; DIR/bin is put in front of PATH. A relative name is relative to Dir.
	LocalLib []string `yaml:"local_lib" path:"yes"`
	// Umask is the umask of the workers in octal, "0027"; by default the gateway's.
	Umask string `yaml:"umask"`

	// Loop is the event loop that works below IO::Async, by its adapter: "Mojo" stands for IO::Async::Loop::Mojo. By
	// default IO::Async chooses.
	Loop string `yaml:"loop"`
	// Spec is the specification that the application is written for: "0.3", or "0.1" for that of PAGI 0.001006. By
	// default the worker guesses, by the modules that the application loads.
	Spec string `yaml:"spec"`
	// EventOrder says what happens to an event that comes too late or twice: with "strict" it is an exception in the
	// application, with "lenient" it is dropped, and logged once. By default development is strict and everything else
	// lenient.
	EventOrder string `yaml:"event_order"`

	// Processes sets how many workers there are and when each is replaced, Limits the times of their starts and ends.
	worker.Processes `yaml:",inline"`
	worker.Limits    `yaml:",inline"`
	// MaxScopes is how many requests, WebSockets and event streams a worker may have at once; 10000 by default.
	MaxScopes int `yaml:"max_scopes" default:"10000"`
	// QueueSize is how many may wait while no worker can take them; 1024 by default. One more is answered 503.
	QueueSize int `yaml:"queue_size" default:"1024"`
	// QueueTimeout is how long one may wait; 30 s by default.
	QueueTimeout time.Duration `yaml:"queue_timeout" default:"30s"`
	// StreamGrace is how long the streams of a worker may go on that is replaced; 30 s by default. Then a WebSocket is
	// closed with code 1012, an event stream ends, and any other response is cut. Browsers connect again.
	StreamGrace time.Duration `yaml:"stream_grace" default:"30s"`
	// DisconnectGrace is how long an application may go on when its client has left. Then its Future is cancelled; 60 s
	// by default. It does not hold for work after a complete response.
	DisconnectGrace time.Duration `yaml:"disconnect_grace" default:"60s"`
	// MaxBodySize is the largest request body in bytes; a larger one is answered 413. With 0 only the server's limit
	// applies. The server's limit must be at least as large.
	MaxBodySize int64 `yaml:"max_body_size" unit:"bytes"`

	// PSGI says that the application is one of PSGI, or of Mojolicious. See psgi.PSGI, whose option Loop comes here.
	PSGI bool `yaml:"-"`
	// Ping says how long a worker may go without a sign of life before it is ended; mux.DefaultPing by default.
	Ping mux.Ping `yaml:"-" json:"-"`
	// MaxBuffered is how many bytes of an answer an application of PSGI may have written that the client has not taken.
	MaxBuffered int64 `yaml:"-"`
	// Loaded, if not nil, gets the application's files: those in %INC, as absolute paths, first when a worker has
	// started and then as it loads more. It must not block. It is for development.
	Loaded func(files []string) `yaml:"-" json:"-"`
	// Counts takes what the application counts by PagiBridge::count; nil is allowed.
	Counts *tally.Mount `yaml:"-" json:"-"`
	// Shared is the cache and the locks that the application uses; nil: none.
	Shared *shared.Access `yaml:"-" json:"-"`
	// Watched has the workers tell of the application's files although Loaded is nil: a Keeper passes them on.
	Watched bool `yaml:"-"`
	// Name is the application's name in log records: the path at which it is mounted.
	Name string `yaml:"-"`
	// Logger gets what the workers print; nil means slog.Default.
	Logger *slog.Logger `yaml:"-" json:"-"`
	// Crew makes the workers, unless they are to be processes of this one. Of another process that has them only the
	// files that they use are checked here. See Keeper.
	Crew func(worker.Options, worker.Host) worker.Crew `yaml:"-" json:"-"`
}

// The values of EventOrder.
const (
	Strict  = "strict"
	Lenient = "lenient"
)

var moduleName = regexp.MustCompile(`^[A-Za-z_][0-9A-Za-z_]*(::[0-9A-Za-z_]+)*$`)

// IsModule reports whether a name is that of a Perl module rather than that of a file.
func IsModule(name string) bool { return moduleName.MatchString(name) }

// Build checks the options and returns the application. Its workers are started later, by lifespan.startup.
func (o PAGI) Build() (pagi.App, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	return &app{opt: o}, nil
}

// Keeper returns what keeps the workers of the application for gateways in other processes, in place of Build. Of opt the
// Options of the workers are set here, but for User. The names of the application's files are told if o.Watched is set.
func (o PAGI) Keeper(opt lease.KeeperOptions) (*lease.Keeper, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	user, workers := opt.User, o.workers()
	opt.Options = workers.WorkerOptions()
	opt.User = user
	return lease.NewKeeper(opt), nil
}

// complete checks the options and fills in what follows from them.
func (o *PAGI) complete() error {
	given := 0
	for _, value := range []string{o.App, o.Module, o.Code} {
		if value != "" {
			given++
		}
	}
	switch {
	case given != 1:
		return errors.New(o.kind() + ": exactly one of app, module and code must be given")
	case o.Module != "" && !IsModule(o.Module):
		return fmt.Errorf("perlpagi: module: %q is no name of a Perl module", o.Module)
	case o.Module == "" && len(o.Args) > 0:
		return errors.New("perlpagi: args: a file or code takes no arguments, only a module does")
	}
	process := o.process()
	if err := process.Resolve(); err != nil {
		return fmt.Errorf("%s: %w", o.kind(), err)
	}
	o.Dir, o.Perl = process.Dir, process.Perl
	if o.App != "" {
		app, err := process.File(o.App)
		if err != nil {
			return fmt.Errorf("%s: %w", o.kind(), err)
		}
		o.App = app
	}
	if err := o.Check(); err != nil {
		return fmt.Errorf("%s: %w", o.kind(), err)
	}
	option.SetDefaults(o)
	if o.Environment == "" {
		o.Environment = "deployment"
	}
	if o.EventOrder == "" {
		o.EventOrder = Lenient
		if o.Environment == "development" {
			o.EventOrder = Strict
		}
	}
	o.Processes = o.Processes.WithDefaults()
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return nil
}

// Check reports options that cannot work, by their names in a site file.
func (o *PAGI) Check() error {
	errs := []error{option.CheckSigns(o), o.Processes.Check(), o.Limits.Check()}
	switch o.Spec {
	case "", "0.1", "0.3":
	default:
		errs = append(errs, option.Wrong("spec", "must be 0.1 or 0.3, is %q", o.Spec))
	}
	switch o.EventOrder {
	case "", Strict, Lenient:
	default:
		errs = append(errs, option.Wrong("event_order", "must be strict or lenient, is %q", o.EventOrder))
	}
	return errors.Join(errs...)
}

// process returns how perl is started.
func (o *PAGI) process() *perlprocess.Options {
	return &perlprocess.Options{
		Perl: o.Perl, Dir: o.Dir, Lib: o.Lib, Modules: o.Modules, LocalLib: o.LocalLib, Env: o.Env, Environment: o.Environment, PAGI: !o.PSGI, Umask: o.Umask,
	}
}

// workers returns the options of the workers.
func (o *PAGI) workers() mux.WorkersOptions {
	return mux.WorkersOptions{
		Processes: o.Processes, Limits: o.Limits, Name: o.Name, Start: o.command, Loaded: o.Loaded, Counts: o.Counts, Shared: o.Shared, Logger: o.Logger,
		Crew: o.Crew, Ping: o.Ping, QueueSize: o.QueueSize, QueueTimeout: o.QueueTimeout, StreamGrace: o.StreamGrace,
	}
}

// command returns the command of a worker, or with Preload of the zygote, and its configuration.
func (o *PAGI) command(setup worker.Setup) (*exec.Cmd, []byte, error) {
	if err := perl.Extract(setup.Dir); err != nil {
		return nil, nil, err
	}
	process := o.process()
	common, err := process.Configuration()
	if err != nil {
		return nil, nil, err
	}
	var args []string
	for _, name := range slices.Sorted(maps.Keys(o.Args)) {
		args = append(args, name, o.Args[name])
	}
	configuration := append(common,
		"socket", setup.Socket,
		"token", setup.Token,
		"name", o.Name,
		"workers", strconv.Itoa(max(o.Workers, o.MaxWorkers)),
		"worker", strconv.Itoa(setup.Worker),
		"streams", strconv.Itoa(o.MaxScopes),
		"buffered", strconv.FormatInt(o.MaxBuffered, 10),
		"grace", strconv.FormatFloat(o.DisconnectGrace.Seconds(), 'f', -1, 64),
		"args", string(wire.AppendPairs(nil, args...)),
	)
	set := func(name, value string) {
		if value != "" {
			configuration = append(configuration, name, value)
		}
	}
	set("app", o.App)
	set("module", o.Module)
	set("code", o.Code)
	set("loop", o.Loop)
	set("spec", o.Spec)
	set("psgi", flag(o.PSGI))
	set("multiprocess", flag(max(o.Workers, o.MaxWorkers) > 1))
	set("listen", setup.Listen)
	set("user", setup.User)
	set("preload", flag(setup.Preload))
	set("stack", o.Signal().Configuration())
	set("reload", flag(o.Loaded != nil || o.Watched))
	set("strict", flag(o.EventOrder == Strict))
	set("development", flag(o.Environment == "development"))
	return process.Command(filepath.Join(setup.Dir, perl.LoopWorkerScript)), wire.AppendPairs(nil, configuration...), nil
}

// kind is the word for the application in messages.
func (o *PAGI) kind() string {
	if o.PSGI {
		return "psgi"
	}
	return "perlpagi"
}

func flag(is bool) string {
	if is {
		return "1"
	}
	return ""
}

// app is the application that PAGI.Build returns.
type app struct {
	opt     PAGI
	workers *mux.Workers // set by startup, before any scope
}

// Serve implements pagi.App.
func (a *app) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	switch scope.Type {
	case pagi.TypeSSE:
		if a.opt.PSGI {
			return pagi.Unsupported(scope) // it is served as any other request
		}
		return a.serve(ctx, scope, receive, send)
	case pagi.TypeHTTP, pagi.TypeWebSocket:
		return a.serve(ctx, scope, receive, send)
	case pagi.TypeLifespan:
		return lifespan.Serve(ctx, receive, send, a.startup, a.shutdown)
	}
	return pagi.Unsupported(scope)
}

func (a *app) startup(ctx context.Context) error {
	w := mux.NewWorkers(a.opt.workers())
	if err := w.Start(ctx); err != nil {
		return err
	}
	a.workers = w
	return nil
}

func (a *app) shutdown(ctx context.Context) error {
	if a.workers == nil {
		return nil
	}
	return a.workers.Stop(ctx)
}
