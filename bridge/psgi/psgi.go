// Package psgi runs PSGI 1.1 applications, in Perl worker processes, as a pagi.App.
//
// The application's file needs no change, and nothing but core Perl besides its own modules. The
// package reads the whole request body, into memory or a temporary file, before it uses a worker.
// It takes the answer from the worker as fast as it comes, even if the client is slow. It serves
// scopes of type http and sse in the same way. docs/psgi.md tells which parts of PSGI are
// supported.
package psgi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/internal/perlprocess"
	"github.com/pagi-go/pagi-bridge/bridge/lease"
	"github.com/pagi-go/pagi-bridge/bridge/pool"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/shared"
	"github.com/pagi-go/pagi-bridge/internal/tally"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/perl"
)

// PSGI is a PSGI application. One of App and Code is required; the zero value of
// everything else works.
//
// The lifespan startup event starts its workers, so it needs a server that sends this event:
// server.Server, a URLMap below it, or pagitest.
type PSGI struct {
	// App is the application's file, app.psgi for example. A relative name is relative to Dir.
	App string `yaml:"app" path:"yes"`
	// Code is Perl code that returns the application, instead of a file.
	Code string `yaml:"code" expand:"no"`
	// Modules are loaded before it, as perl's -M does: "Module" or "Module=import,list".
	Modules []string `yaml:"modules"`
	// Lib are directories put in front of @INC, as perl's -I does.
	Lib []string `yaml:"lib" old:"include" path:"yes"`
	// Perl is the perl to run; "perl" by default. A name without a slash is looked up in PATH;
	// another relative name is relative to Dir.
	Perl string `yaml:"perl"`
	// Dir is the working directory of the workers; by default the gateway's.
	Dir string `yaml:"dir" path:"yes"`
	// Environment is the value of PLACK_ENV: "deployment" by default. In
	// "development" an exception is shown to the client, with its stack.
	Environment string `yaml:"environment"`
	// Env is added to the environment of the workers, which is the gateway's.
	Env map[string]string `yaml:"env"`
	// LocalLib are directories as local::lib and carton make them. DIR/lib/perl5 is put in front of
	// PERL5LIB, and so comes after Lib; DIR/bin is put in front of PATH. A relative name is
	// relative to Dir.
	LocalLib []string `yaml:"local_lib" path:"yes"`
	// Umask is the umask of the workers in octal, "0027"; by default the gateway's.
	Umask string `yaml:"umask"`

	// Warmup are targets of requests, "/" or "/list?page=1", below the mount's path. They are made by GET before the application
	// serves: with Preload in the zygote, whose workers share what they have loaded, else in each worker. One that fails is
	// a warning. At most 100.
	Warmup []string `yaml:"warmup"`

	// Loop has the application run in workers with an event loop, each of which serves many requests at once: "true", or
	// the name of the loop that works below IO::Async, by its adapter: "Mojo" stands for IO::Async::Loop::Mojo. "" and
	// "false" are for workers without one. An application of Mojolicious is then driven as its own server does, WebSockets
	// included. docs/psgi.md has the rest.
	Loop string `yaml:"loop"`
	// MaxScopes is how many requests and WebSockets a worker with an event loop may have at once; 10000 by default.
	MaxScopes int `yaml:"max_scopes"`
	// StreamGrace is how long the requests and WebSockets of such a worker may go on when it is replaced; 30 s by default.
	StreamGrace time.Duration `yaml:"stream_grace"`
	// MaxBuffered is how many bytes of an answer such a worker holds that the application has written and the client has
	// not taken; 16 MiB by default. An application that writes more loses its client.
	MaxBuffered int64 `yaml:"max_buffered" unit:"bytes"`

	// Processes sets how many workers there are and when each is replaced, Limits how long requests
	// may take and wait. MaxBodySize is the largest request body in bytes; a larger one is answered
	// 413. With 0 only the server's limit applies. The server's limit must be at least as large.
	worker.Processes `yaml:",inline"`
	pool.Limits      `yaml:",inline"`
	MaxBodySize      int64 `yaml:"max_body_size" unit:"bytes"`

	// Loaded, if not nil, gets the application's files: those in %INC, as absolute paths, first
	// when a worker has started and then as it loads more. It must not block. It is for
	// development. With Environment "development" it also turns on the banner: HTML pages show the
	// error of a failed Reload until one succeeds.
	Loaded func(files []string) `yaml:"-" json:"-"`
	// Counts takes what the application counts by PagiBridge::count; nil is allowed.
	Counts *tally.Mount `yaml:"-" json:"-"`
	// Shared is the cache and the locks that the application uses; nil: none.
	Shared *shared.Access `yaml:"-" json:"-"`
	// Watched has the workers tell of the application's files although Loaded is nil: a Keeper passes them on.
	Watched bool `yaml:"-"`
	// Name is the application's name in log records: the path at which it is mounted.
	Name string `yaml:"-"`
	// RootPath is the path at which it is mounted, for Warmup.
	RootPath string `yaml:"-"`
	// Logger gets what the workers print; nil means slog.Default.
	Logger *slog.Logger `yaml:"-" json:"-"`
	// Crew makes the workers, unless they are to be processes of this one. Of another process that has them only the
	// files that they use are checked here. See Keeper.
	Crew func(worker.Options, worker.Host) worker.Crew `yaml:"-" json:"-"`
}

// Build checks the options and returns the application. Its workers are started
// later, by lifespan.startup.
func (o PSGI) Build() (pagi.App, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	if o.HasLoop() {
		return o.buildLoop()
	}
	a := &app{opt: o, development: o.Environment == "development"}
	if a.development && o.Loaded != nil {
		a.banner = &banner{}
	}
	return a, nil
}

// complete checks the options and fills in what follows from them.
func (o *PSGI) complete() error {
	if (o.App == "") == (o.Code == "") {
		return errors.New("psgi: exactly one of app and code must be given")
	}
	process := o.process()
	if err := process.Resolve(); err != nil {
		return fmt.Errorf("psgi: %w", err)
	}
	o.Dir, o.Perl = process.Dir, process.Perl
	if o.App != "" {
		app, err := process.File(o.App)
		if err != nil {
			return fmt.Errorf("psgi: %w", err)
		}
		o.App = app
	}
	options := o.pool()
	if err := errors.Join(options.Check(), o.checkLoop(), o.checkWarmup()); err != nil {
		return named(err)
	}
	if o.Environment == "" {
		o.Environment = "deployment"
	}
	o.Processes = o.Processes.WithDefaults()
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return nil
}

// named puts the package's name in front of each of the joined errors.
func named(err error) error {
	joined, is := err.(interface{ Unwrap() []error })
	if !is {
		return fmt.Errorf("psgi: %w", err)
	}
	var errs []error
	for _, each := range joined.Unwrap() {
		errs = append(errs, named(each))
	}
	return errors.Join(errs...)
}

// process returns how perl is started.
func (o *PSGI) process() *perlprocess.Options {
	return &perlprocess.Options{
		Perl: o.Perl, Dir: o.Dir, Lib: o.Lib, Modules: o.Modules, LocalLib: o.LocalLib, Env: o.Env, Environment: o.Environment, Umask: o.Umask,
	}
}

// pool returns the options of the workers' pool.
func (o *PSGI) pool() pool.Options {
	return pool.Options{
		Processes: o.Processes, Limits: o.Limits, Name: o.Name, Start: o.command, Loaded: o.Loaded, Counts: o.Counts, Shared: o.Shared, Logger: o.Logger, Crew: o.Crew,
	}
}

// Keeper returns what keeps the workers of the application for gateways in other processes, in place of Build. Of opt the
// Options of the workers are set here, but for User. The names of the application's files are told if o.Watched is set.
func (o PSGI) Keeper(opt lease.KeeperOptions) (*lease.Keeper, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	if o.HasLoop() {
		looped, err := o.looped()
		if err != nil {
			return nil, err
		}
		return looped.Keeper(opt)
	}
	user := opt.User
	pooled := o.pool()
	opt.Options = pooled.WorkerOptions()
	opt.User = user
	return lease.NewKeeper(opt), nil
}

// command returns the command that pool starts.
func (o *PSGI) command(setup worker.Setup) (*exec.Cmd, []byte, error) {
	if err := perl.Extract(setup.Dir); err != nil {
		return nil, nil, err
	}
	process := o.process()
	cmd := process.Command(filepath.Join(setup.Dir, perl.WorkerScript))
	common, err := process.Configuration()
	if err != nil {
		return nil, nil, err
	}
	configuration := []string{
		"socket", setup.Socket,
		"token", setup.Token,
		"name", o.Name,
		"workers", fmt.Sprint(max(o.Workers, o.MaxWorkers)),
		"worker", fmt.Sprint(setup.Worker),
	}
	if setup.Listen != "" {
		configuration = append(configuration, "listen", setup.Listen)
	}
	if setup.User != "" {
		configuration = append(configuration, "user", setup.User)
		if sendmsg != 0 {
			configuration = append(configuration, "sendmsg", strconv.Itoa(sendmsg))
		}
	}
	if setup.Preload {
		configuration = append(configuration, "preload", "1")
	}
	if stack := o.Signal().Configuration(); stack != "" {
		configuration = append(configuration, "stack", stack)
	}
	if o.App != "" {
		configuration = append(configuration, "app", o.App)
	} else {
		configuration = append(configuration, "code", o.Code)
	}
	if len(o.Warmup) > 0 {
		requests, err := o.warmups()
		if err != nil {
			return nil, nil, err
		}
		configuration = append(configuration, "warmup", requests)
	}
	configuration = append(configuration, common...)
	if o.Loaded != nil || o.Watched {
		configuration = append(configuration, "reload", "1")
	}
	if o.Environment == "development" {
		configuration = append(configuration, "development", "1")
	}
	return cmd, wire.AppendPairs(nil, configuration...), nil
}

// app is the application that PSGI.Build returns.
type app struct {
	opt         PSGI
	development bool
	pool        *pool.Pool // set by startup, before any request
	banner      *banner    // nil if a failed reload is not shown
	names       wire.NameTable
	declined    sync.Once // the log has said why there are no WebSockets
}

// Serve implements pagi.App.
func (a *app) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	switch scope.Type {
	case pagi.TypeHTTP:
		return a.serve(ctx, scope, receive, send)
	case pagi.TypeLifespan:
		return lifespan.Serve(ctx, receive, send, a.startup, a.shutdown)
	case pagi.TypeWebSocket:
		a.declined.Do(func() {
			a.opt.Logger.Warn("psgi: WebSockets are declined (this is logged once): workers with an event loop can have them, by --loop or 'loop: true' of the mount",
				"mount", a.opt.Name, "path", scope.RootPath+scope.Path)
		})
	}
	return pagi.Unsupported(scope)
}

func (a *app) startup(ctx context.Context) error {
	p := pool.New(a.opt.pool())
	if err := p.Start(ctx); err != nil {
		return err
	}
	a.pool = p
	return nil
}

func (a *app) shutdown(ctx context.Context) error {
	if a.pool == nil {
		return nil
	}
	return a.pool.Stop(ctx)
}
