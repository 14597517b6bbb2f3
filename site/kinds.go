package site

import (
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/bridge/cgi"
	"github.com/pagi-go/pagi-bridge/bridge/perlpagi"
	"github.com/pagi-go/pagi-bridge/bridge/psgi"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
	"github.com/pagi-go/pagi-bridge/plugin/host"
)

// Kinds of mounts. A site file gives the kind of a mount by one of these keys.
const (
	KindPSGI      = "psgi"
	KindPerlPAGI  = "perlpagi"
	KindCGI       = "cgi"
	KindFile      = "file"
	KindDirectory = "directory"
	KindRedirect  = "redirect"
	KindNotFound  = "not_found"
	KindCascade   = "cascade"
	KindRouter    = "router"
	KindShadow    = "shadow"
	KindPlugin    = "plugin"
	KindGo        = "go"
)

// kind is a type of mount that is built in.
type kind struct {
	// main returns the option that is set by the value of the kind's own key.
	main func(value string) string
	// new returns a pointer to the options: a pagi.App, or a builder.
	new func() any
	// complete sets the options that the mount left out and the site knows.
	complete func(options any, m *Mount, s *Site)
}

// builder makes an application of options that are not an application themselves.
type builder interface {
	Build() (pagi.App, error)
}

func always(option string) func(string) string { return func(string) string { return option } }

var kinds = map[string]kind{
	KindPSGI: {
		main:     always("app"),
		new:      func() any { return &psgi.PSGI{} },
		complete: completePSGI,
	},
	KindPerlPAGI: {
		main: func(value string) string {
			if _, err := os.Stat(value); err != nil && perlpagi.IsModule(value) {
				return "module"
			}
			return "app"
		},
		new:      func() any { return &perlpagi.PAGI{} },
		complete: completePerlPAGI,
	},
	KindCGI: {
		main: func(value string) string {
			if info, err := os.Stat(value); err == nil && !info.IsDir() {
				return "script"
			}
			return "root"
		},
		new: func() any { return &cgi.CGI{} },
		complete: func(options any, _ *Mount, s *Site) {
			o := options.(*cgi.CGI)
			o.Redirect, o.Logger = s.self(), s.Logger
			o.Env = s.withHub(o.Env)
			o.Traced = s.Tracer != nil
			setDefault(&o.StackSignal, s.Settings.StackSignal)
			if slices.ContainsFunc(o.Directories, func(d cgi.Directory) bool { return d.MaxBodySize > 0 }) {
				setDefault(&o.MaxBodySize, max(0, s.ownBodySize())) // for the other scripts
			}
			if o.Root != "" {
				o.Files = &apps.File{Root: o.Root, FollowSymlinks: o.FollowSymlinks, Logger: s.Logger}
			}
			for i := range o.Directories {
				if d := &o.Directories[i]; d.FollowSymlinks != "" {
					d.Files = &apps.File{Root: o.Root, FollowSymlinks: d.FollowSymlinks, Logger: s.Logger}
				}
			}
		},
	},
}

// init adds the kinds of applications that have registered themselves.
func init() {
	for _, name := range parts.KindNames() {
		part, _ := parts.KindOf(name)
		kinds[name] = kind{main: always(part.Main), new: func() any { return part.New() }, complete: completePart}
	}
}

// kindWords are the names of the kinds with worker processes, for messages.
var kindWords = map[string]string{KindPSGI: "PSGI", KindPerlPAGI: "Perl PAGI"}

// holdsParts reports whether a mount of a kind is made of other applications.
func holdsParts(kind string) bool { return kind == KindCascade || kind == KindShadow }

// completePart sets the fields Logger and Environment of an application that has them, and what a plugin wants to know
// of its mount.
func completePart(options any, m *Mount, s *Site) {
	s.complete(options)
	switch o := options.(type) {
	case *apps.Metrics:
		o.Registry = s.Metrics
	case *apps.StatusPage:
		o.Source = s.Metrics.Status
	}
	if p, is := options.(*host.Plugin); is {
		p.Name = m.Name()
		setDefault(&p.Dir, m.base())
		p.Dir = absolute(p.Dir)
		p.Where = m.at.of
		if len(p.Command) > 0 {
			m.Source = strings.Join(p.Command, " ")
		}
	}
}

// complete sets the fields Logger, a *slog.Logger, Environment, a string that is no option, and Broker,
// a pubsub.Broker, of a pointer to a struct that has them. A Healthcheck gets checks of the mounts.
func (s *Site) complete(part any) {
	v := reflect.ValueOf(part)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return
	}
	if h, is := part.(*middleware.Healthcheck); is {
		h.Checks, h.Mounts, h.Draining = s.checks(), s.mountChecks(), s.draining
	}
	field := v.Elem().FieldByName("Logger")
	if field.IsValid() && field.Type() == reflect.TypeFor[*slog.Logger]() {
		field.Set(reflect.ValueOf(s.Logger))
	}
	if broker := v.Elem().FieldByName("Broker"); s.cluster != nil && broker.IsValid() && broker.Type() == reflect.TypeFor[pubsub.Broker]() {
		broker.Set(reflect.ValueOf(s.cluster))
	}
	if f, ok := v.Elem().Type().FieldByName("Environment"); ok && f.Type.Kind() == reflect.String && f.Tag.Get("yaml") == "-" {
		v.Elem().FieldByIndex(f.Index).SetString(s.Settings.Environment)
	}
}

func completePSGI(options any, m *Mount, s *Site) {
	o := options.(*psgi.PSGI)
	perlOptions{
		&o.Name, &o.Logger, &o.Processes, &o.Env, &o.Perl, &o.Environment, &o.Dir, &o.App, &o.Lib, &o.LocalLib, &o.Loaded,
	}.complete(m, s)
	o.Watched = o.Loaded != nil
	o.RootPath = strings.TrimSuffix(m.Path, "/")
	o.Counts = s.Metrics.Counts(m.Name())
	o.Shared = s.shareWith(m)
}

func completePerlPAGI(options any, m *Mount, s *Site) {
	o := options.(*perlpagi.PAGI)
	perlOptions{
		&o.Name, &o.Logger, &o.Processes, &o.Env, &o.Perl, &o.Environment, &o.Dir, &o.App, &o.Lib, &o.LocalLib, &o.Loaded,
	}.complete(m, s)
	o.Watched = o.Loaded != nil
	o.Counts = s.Metrics.Counts(m.Name())
	o.Shared = s.shareWith(m)
}

// perlOptions are what the kinds of applications in Perl have in common.
type perlOptions struct {
	name                        *string
	logger                      **slog.Logger
	processes                   *worker.Processes
	env                         *map[string]string
	perl, environment, dir, app *string
	lib, localLib               *[]string
	loaded                      *func(files []string)
}

// complete sets the options that the mount left out and the site knows.
func (o perlOptions) complete(m *Mount, s *Site) {
	*o.name, *o.logger = m.Name(), s.Logger
	o.processes.Inherit(s.Settings.Processes, m.says)
	*o.env = s.withHub(*o.env)
	setDefault(o.perl, s.Settings.Perl)
	setDefault(o.environment, s.Settings.Environment)
	setDefault(o.dir, m.base())
	*o.lib = append(*o.lib, s.Settings.Lib...)
	// The bridges resolve relative names from Dir; a site file resolves them from its own directory.
	*o.app = absolute(*o.app)
	for _, list := range [][]string{*o.lib, *o.localLib} {
		for i, dir := range list {
			list[i] = absolute(dir)
		}
	}
	if s.Settings.Reloads() {
		m.files = watchedFiles(*o.app, *o.lib, s.Settings.ReloadDirs)
		*o.loaded = m.files.Add
	}
	*o.processes = o.processes.WithDefaults()
	m.countWorkers(o.processes)
}

// countWorkers notes how many workers a mount has.
func (m *Mount) countWorkers(p *worker.Processes) {
	m.Workers, m.MaxWorkers = p.Workers, p.MaxWorkers
	if p.MaxWorkers > 0 {
		m.Workers = p.MinWorkers
	}
}

// hubVariable names the variable in which a bridged application finds the path of the hub.
const hubVariable = "PAGI_HUB"

// withHub returns the variables of a mount with that of the hub, if there is one.
func (s *Site) withHub(env map[string]string) map[string]string {
	if _, own := env[hubVariable]; own || s.Settings.Hub == "" {
		return env
	}
	env = maps.Clone(env)
	if env == nil {
		env = map[string]string{}
	}
	env[hubVariable] = absolute(s.Settings.Hub)
	return env
}

// absolute leaves a name as it is if the current directory is gone. Build then reports that.
func absolute(name string) string {
	if abs, err := filepath.Abs(name); err == nil && name != "" {
		return abs
	}
	return name
}

func setDefault[T comparable](option *T, value T) {
	if *option == *new(T) {
		*option = value
	}
}
