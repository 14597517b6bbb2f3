// Package psgi runs PSGI 1.1 applications, in Perl worker processes, as a pagi.App.
//
// The application's file is not edited and nothing but core Perl is needed besides
// what it uses itself. A request body is complete, in memory or in a temporary
// file, before a worker is touched; an answer is taken off the worker as fast as it
// comes, whatever the client's speed. Scopes of type http and sse are served alike.
// docs/psgi.md tells what of PSGI is there.
package psgi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/pool"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/perl"
)

// PSGI is a PSGI application. One of App and Code is required; the zero value of
// everything else works.
//
// Its workers are started by the lifespan startup event, so it must be served by
// something that has one: server.Server, a URLMap below it, pagitest.
type PSGI struct {
	// App is the application's file, app.psgi for example. A relative name is
	// meant from Dir.
	App string `yaml:"app"`
	// Code is Perl code that yields the application, instead of a file.
	Code string `yaml:"code"`
	// Modules are loaded before it, as perl's -M does: "Module" or "Module=import,list".
	Modules []string `yaml:"modules"`
	// Include are directories put in front of @INC, as perl's -I does.
	Include []string `yaml:"include"`
	// Perl is the perl to run; "perl" by default. A name without a slash is looked
	// up in PATH, a relative one is meant from Dir.
	Perl string `yaml:"perl"`
	// Dir is the working directory of the workers; by default the gateway's.
	Dir string `yaml:"dir"`
	// Environment is the value of PLACK_ENV: "deployment" by default. In
	// "development" an exception is shown to the client, with its stack.
	Environment string `yaml:"environment"`
	// Env is added to the environment of the workers, which is the gateway's.
	Env map[string]string `yaml:"env"`
	// LocalLib are directories as local::lib and carton make them. DIR/lib/perl5 is
	// put in front of PERL5LIB, so behind Include, and DIR/bin in front of PATH. A
	// relative name is meant from Dir.
	LocalLib []string `yaml:"local_lib"`
	// Umask of the workers in octal, "0027"; by default the gateway's.
	Umask string `yaml:"umask"`

	// Workers is the number of processes; 5 by default.
	Workers int `yaml:"workers"`
	// MinWorkers and MaxWorkers, given instead of Workers, let the number follow
	// the load.
	MinWorkers int `yaml:"min_workers"`
	MaxWorkers int `yaml:"max_workers"`
	// IdleTimeout is how long a worker beyond MinWorkers may have nothing to do;
	// 60 s by default.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
	// Preload has one process load the application and fork the workers, which
	// share its memory. docs/psgi.md tells what an application must mind then.
	Preload bool `yaml:"preload"`
	// MaxRequests is how many requests a worker serves before another takes its
	// place; 0 means no limit.
	MaxRequests int `yaml:"max_requests"`
	// MaxAge is how old a worker becomes before another takes its place; 0 means
	// no limit.
	MaxAge time.Duration `yaml:"max_age"`
	// MaxRequestsJitter is the part of MaxRequests and MaxAge by which workers may
	// fall short of them, each by its own amount: 0 to 1, 0.1 by default, less than
	// 0 for none.
	MaxRequestsJitter float64 `yaml:"max_requests_jitter"`
	// MaxRSS is how many bytes of memory a worker may have between two requests
	// before another takes its place; 0 means no limit. It needs a /proc.
	MaxRSS int64 `yaml:"max_rss"`
	// QueueSize is how many requests may wait for a worker; 1024 by default.
	// One more is answered 503 with Retry-After.
	QueueSize int `yaml:"queue_size"`
	// QueueTimeout is how long a request may wait for a worker before it is
	// answered 503; 30 s by default.
	QueueTimeout time.Duration `yaml:"queue_timeout"`
	// RequestTimeout is how long a worker may go without a sign of life while it
	// has a request. Then it is killed and the answer is 504; 300 s by default,
	// less than 0 means no limit. Waiting for a slow client does not count.
	RequestTimeout time.Duration `yaml:"request_timeout"`
	// StartTimeout is how long a worker may take to load the application; 60 s by
	// default.
	StartTimeout time.Duration `yaml:"start_timeout"`
	// MaxBatch is how many requests with safe methods a worker may be given at
	// once under load; 32 by default, 1 for one by one.
	MaxBatch int `yaml:"max_batch"`
	// AnswerMemory is how many bytes of an answer are kept in memory while its
	// client is slow; 256 KiB by default. More goes to a temporary file.
	AnswerMemory int `yaml:"answer_memory"`
	// AnswerSpool is how many bytes may be in that file before the worker has to
	// wait for the client; 1 GiB by default, less than 0 means no file.
	AnswerSpool int64 `yaml:"answer_spool"`

	// Loaded, where it is not nil, is told the files the application consists of:
	// those in %INC, as absolute paths, first when a worker has started and then as
	// it loads more. It must not block. It is for development; together with
	// Environment "development" it also makes a Reload that failed be shown on top
	// of HTML pages until one succeeds.
	Loaded func(files []string) `yaml:"-"`
	// Name stands for the application in log records: the path it is mounted at.
	Name string `yaml:"-"`
	// Logger gets what the workers print; nil means slog.Default.
	Logger *slog.Logger `yaml:"-"`
}

// Build checks the options and returns the application. Its workers are started
// later, by lifespan.startup.
func (o PSGI) Build() (pagi.App, error) {
	if (o.App == "") == (o.Code == "") {
		return nil, errors.New("psgi: exactly one of app and code must be given")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("psgi: dir: %w", err)
	}
	o.Dir = dir
	if o.App != "" {
		o.App = o.path(o.App)
		switch info, err := os.Stat(o.App); {
		case err != nil:
			return nil, fmt.Errorf("psgi: app: %w", err)
		case info.IsDir():
			return nil, fmt.Errorf("psgi: app: %s is a directory", o.App)
		}
	}
	switch {
	case o.Perl == "":
		o.Perl = "perl"
	case strings.Contains(o.Perl, "/"):
		o.Perl = o.path(o.Perl)
	}
	if o.Perl, err = exec.LookPath(o.Perl); err != nil {
		return nil, fmt.Errorf("psgi: perl: %w", err)
	}
	if err := o.checkEnviron(); err != nil {
		return nil, fmt.Errorf("psgi: %w", err)
	}
	options := o.pool()
	if err := options.Check(); err != nil {
		return nil, named(err)
	}
	if o.Environment == "" {
		o.Environment = "deployment"
	}
	if o.Workers == 0 && o.MaxWorkers == 0 {
		o.Workers = pool.DefaultWorkers
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	a := &app{opt: o, development: o.Environment == "development"}
	if a.development && o.Loaded != nil {
		a.banner = &banner{}
	}
	return a, nil
}

// named puts the part's name in front of each of joined errors.
func named(err error) error {
	joined, is := err.(interface{ Unwrap() []error })
	if !is {
		return fmt.Errorf("psgi: %w", err)
	}
	var errs []error
	for _, each := range joined.Unwrap() {
		errs = append(errs, fmt.Errorf("psgi: %w", each))
	}
	return errors.Join(errs...)
}

func (o *PSGI) path(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(o.Dir, p)
}

// pool returns the options of the workers' pool.
func (o *PSGI) pool() pool.Options {
	return pool.Options{
		Name:           o.Name,
		Start:          o.command,
		Preload:        o.Preload,
		Workers:        o.Workers,
		MinWorkers:     o.MinWorkers,
		MaxWorkers:     o.MaxWorkers,
		IdleTimeout:    o.IdleTimeout,
		QueueSize:      o.QueueSize,
		QueueTimeout:   o.QueueTimeout,
		RequestTimeout: o.RequestTimeout,
		StartTimeout:   o.StartTimeout,
		MaxRequests:    o.MaxRequests,
		MaxAge:         o.MaxAge,
		Jitter:         o.MaxRequestsJitter,
		MaxRSS:         o.MaxRSS,
		MaxBatch:       o.MaxBatch,
		Memory:         o.AnswerMemory,
		Spool:          o.AnswerSpool,
		Loaded:         o.Loaded,
		Logger:         o.Logger,
	}
}

// command makes the process that pool starts.
func (o *PSGI) command(setup pool.Setup) (*exec.Cmd, []byte, error) {
	if err := perl.Extract(setup.Dir); err != nil {
		return nil, nil, err
	}
	var args []string
	for _, dir := range o.Include {
		args = append(args, "-I"+o.path(dir))
	}
	for _, module := range o.Modules {
		args = append(args, "-M"+module)
	}
	args = append(args, filepath.Join(setup.Dir, perl.WorkerScript))
	cmd := exec.Command(o.Perl, args...)
	cmd.Dir = o.Dir
	cmd.Env = o.environ()
	configuration := []string{
		"socket", setup.Socket,
		"token", setup.Token,
		"name", o.Name,
		"workers", fmt.Sprint(max(o.Workers, o.MaxWorkers)),
		"worker", fmt.Sprint(setup.Worker),
	}
	if setup.Preload {
		configuration = append(configuration, "preload", "1")
	}
	if o.App != "" {
		configuration = append(configuration, "app", o.App)
	} else {
		configuration = append(configuration, "code", o.Code)
	}
	if o.Umask != "" {
		mask, err := o.umask()
		if err != nil {
			return nil, nil, err
		}
		configuration = append(configuration, "umask", strconv.Itoa(int(mask)))
	}
	if o.Loaded != nil {
		configuration = append(configuration, "reload", "1")
	}
	if o.Environment == "development" {
		configuration = append(configuration, "development", "1")
	}
	return cmd, wire.AppendPairs(nil, configuration...), nil
}

// app is the application a PSGI is built into.
type app struct {
	opt         PSGI
	development bool
	pool        *pool.Pool // set by startup, before any request
	banner      *banner    // nil where a failed reload is not shown
	names       wire.NameTable
}

// Serve implements pagi.App.
func (a *app) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	switch scope.Type {
	case pagi.TypeHTTP, pagi.TypeSSE:
		return a.serve(ctx, scope, receive, send)
	case pagi.TypeLifespan:
		return pagi.ServeLifespan(ctx, receive, send, a.startup, a.shutdown)
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
