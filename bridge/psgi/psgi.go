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

	// Workers is the number of processes; 5 by default.
	Workers int `yaml:"workers"`
	// Preload has one process load the application and fork the workers, which
	// share its memory. docs/psgi.md tells what an application must mind then.
	Preload bool `yaml:"preload"`
	// MaxRequests is how many requests a worker serves before another takes its
	// place; 0 means no limit.
	MaxRequests int `yaml:"max_requests"`
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
	for name, n := range map[string]int{
		"workers": o.Workers, "max_requests": o.MaxRequests, "queue_size": o.QueueSize, "max_batch": o.MaxBatch,
	} {
		if n < 0 {
			return nil, fmt.Errorf("psgi: %s: must not be negative, is %d", name, n)
		}
	}
	for name, d := range map[string]time.Duration{"queue_timeout": o.QueueTimeout, "start_timeout": o.StartTimeout} {
		if d < 0 {
			return nil, fmt.Errorf("psgi: %s: must not be negative, is %v", name, d)
		}
	}
	if o.Environment == "" {
		o.Environment = "deployment"
	}
	if o.Workers == 0 {
		o.Workers = pool.DefaultWorkers
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return &app{opt: o, development: o.Environment == "development"}, nil
}

func (o *PSGI) path(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(o.Dir, p)
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
	cmd.Env = append(os.Environ(), "PLACK_ENV="+o.Environment)
	for name, value := range o.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	configuration := []string{
		"socket", setup.Socket,
		"token", setup.Token,
		"name", o.Name,
		"workers", fmt.Sprint(o.Workers),
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
	p := pool.New(pool.Options{
		Name:           a.opt.Name,
		Start:          a.opt.command,
		Preload:        a.opt.Preload,
		Workers:        a.opt.Workers,
		QueueSize:      a.opt.QueueSize,
		QueueTimeout:   a.opt.QueueTimeout,
		RequestTimeout: a.opt.RequestTimeout,
		StartTimeout:   a.opt.StartTimeout,
		MaxRequests:    a.opt.MaxRequests,
		MaxBatch:       a.opt.MaxBatch,
		Logger:         a.opt.Logger,
	})
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
