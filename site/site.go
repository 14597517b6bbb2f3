// Package site is where the parts are put together: a site file (YAML) or the
// command line becomes one Site value, and that a tree of applications.
//
// A Site says what is mounted where and how it is served. Load reads one from a
// file and reports everything that is wrong with it by line and column; Build
// makes the application of it. Both look at files and start nothing.
//
// The package imports every room below it. A Go program that wants its own
// applications and middleware in site files registers them (RegisterApp,
// RegisterMiddleware) and calls command.Main.
package site

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/internal/watch"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/server"
)

// Site is everything a gateway serves.
type Site struct {
	// File is the site file's name; "" for a site made of flags.
	File     string
	Settings Settings
	// Middleware is around all mounts, the first one outermost.
	Middleware []*Middleware
	Mounts     []*Mount
	// Logger gets the records of the parts; nil means slog.Default.
	Logger *slog.Logger

	source     []byte // of File
	settingsAt places
	root       pagi.App // what Build returned
}

// Mount is one application's place in the site.
type Mount struct {
	// Host and Path are as apps.Mount has them; an empty Path is the root.
	Host string `yaml:"host"`
	Path string `yaml:"path"`
	// Kind is one of the Kind constants.
	Kind string `yaml:"-"`
	// Source is what the mount serves, as it was written: "app.psgi", "public".
	Source string `yaml:"-"`
	// Options is a pointer to the application's option struct.
	Options any `yaml:"-"`
	// Middleware is around this mount, inside the site's.
	Middleware []*Middleware `yaml:"-"`
	// Workers is the number of processes behind the mount; 0: none of its own.
	// MaxWorkers is how many they may become where their number follows the load,
	// else 0. Build sets both.
	Workers    int `yaml:"-"`
	MaxWorkers int `yaml:"-"`

	at    places
	app   pagi.App     // what Build made of it
	files *watch.Files // of a mount that is reloaded when they change
}

// Name is the mount's host and path.
func (m *Mount) Name() string { return apps.Mount{Host: m.Host, Path: m.Path}.Name() }

// says reports whether the site file gives the mount this option.
func (m *Mount) says(option string) bool {
	_, ok := m.at.options[option]
	return ok
}

// Middleware is a middleware and its name in the registry.
type Middleware struct {
	Name string
	Part pagi.Middleware

	at places
}

// NewMount returns a mount of one of the built-in kinds at the site's root, made
// of source: a file, a directory, an address, a text. It is for a site that is
// made of flags.
func NewMount(kindName, source string) *Mount {
	k := kinds[kindName]
	m := &Mount{Path: "/", Kind: kindName, Source: source, Options: k.new()}
	setOption(m.Options, k.main(source), source)
	return m
}

// Build checks the site and makes its application. An error is of type Problems.
func (s *Site) Build() (pagi.App, error) {
	var problems Problems
	if err := s.Settings.Check(); err != nil {
		problems.addOf(s.settingsAt, err)
	}
	if len(s.Mounts) == 0 {
		problems.add(s.settingsAt.part, "mounts: there is nothing to serve")
	}
	all := &apps.URLMap{}
	taken := map[string]*Mount{}
	for _, m := range s.Mounts {
		app, err := s.buildMount(m)
		if err != nil {
			problems.addOf(m.at, err)
			app = pagi.Broken(err) // go on and find what else is wrong
		}
		m.app = app
		mount := apps.Mount{Host: m.Host, Path: m.Path, App: s.chain(app, m.Middleware, &problems)}
		if other := taken[mount.Place()]; other != nil {
			problems.add(m.at.part, "%s is mounted already%s", m.Name(), first(other.at.part))
		} else {
			taken[mount.Place()] = m
		}
		if err := mount.Check(); err != nil {
			problems.addOf(m.at, err)
		}
		all.Mounts = append(all.Mounts, mount)
	}
	app := s.chain(all, s.Middleware, &problems)
	if err := problems.err(); err != nil {
		return nil, err
	}
	s.root = app
	return app, nil
}

// first says where in the file something stood before.
func first(at Position) string {
	if at.Line == 0 {
		return ""
	}
	return " at " + strings.TrimSuffix(at.String(), ": ")
}

func (s *Site) buildMount(m *Mount) (pagi.App, error) {
	if m.Kind == KindPSGI && s.Settings.Lifespan == string(server.LifespanOff) {
		return nil, pagi.BadOption("lifespan", "must not be off: a PSGI mount starts its workers by it")
	}
	if complete := kinds[m.Kind].complete; complete != nil {
		complete(m.Options, m, s)
	}
	switch part := m.Options.(type) {
	case builder:
		return part.Build()
	case pagi.App:
		return part, pagi.Check(part)
	}
	return nil, pagi.BadOption(m.Kind, "%T is no application", m.Options)
}

func (s *Site) chain(app pagi.App, middleware []*Middleware, problems *Problems) pagi.App {
	parts := make([]pagi.Middleware, len(middleware))
	for i, m := range middleware {
		if err := pagi.Check(m.Part); err != nil {
			problems.addOf(m.at, err)
		}
		parts[i] = m.Part
	}
	return pagi.Chain(app, parts...)
}

// self is the whole site as an application, for a mount that sends requests to
// others: it is known only when all are built.
func (s *Site) self() pagi.App {
	return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		return s.root.Serve(ctx, scope, receive, send)
	})
}

// base is the directory relative names are meant from; "" is the current one.
func (s *Site) base() string {
	if s.File == "" {
		return ""
	}
	return filepath.Dir(s.File)
}

// Development reports whether the site is run for its developer.
func (s *Site) Development() bool { return s.Settings.Environment == "development" }
