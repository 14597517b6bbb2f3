// Package site puts the parts together: it makes a Site of a site file (YAML) or of the command
// line, and a tree of applications of that Site.
//
// A Site tells which application is mounted at which path, and how it is served. Load reads a Site
// from a file and reports all problems by line and column. Build makes its application. Both look
// at files and start nothing.
//
// The package imports every room below it. A Go program that wants its own
// applications and middleware in site files registers them (RegisterApp,
// RegisterMiddleware) and calls command.Main.
package site

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/bridge/cgi"
	"github.com/pagi-go/pagi-bridge/internal/beside"
	"github.com/pagi-go/pagi-bridge/internal/metrics"
	"github.com/pagi-go/pagi-bridge/internal/shared"
	"github.com/pagi-go/pagi-bridge/internal/slow"
	"github.com/pagi-go/pagi-bridge/internal/tracing"
	"github.com/pagi-go/pagi-bridge/internal/watch"
	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/plugin/adapters"
	"github.com/pagi-go/pagi-bridge/server"
)

// Site is the whole configuration of a gateway.
type Site struct {
	// File is the site file's name; "" for a site made of flags.
	File     string
	Settings Settings
	// Middleware is around all mounts, the first one outermost.
	Middleware []*Middleware
	Mounts     []*Mount
	// Logger gets the records of the parts; nil means slog.Default.
	Logger *slog.Logger
	// Adapters keep mounts in processes apart from this one. Nil: all mounts are in this process.
	Adapters *adapters.Adapters

	// Metrics has the metrics of the gateway. Nil: Build takes those of the site that this one replaces, or makes them.
	Metrics *metrics.Registry

	// Tracer records traces of requests. Nil: Build takes that of the site that this one replaces; without one none is recorded.
	Tracer *tracing.Tracer

	// Shared has the caches and the locks of the mounts. Nil: Build takes those of the site that this one replaces; without one
	// the applications have none.
	Shared *shared.Server

	// Runtime returns the directory with the Perl modules of the runtime, for jobs with Perl code. Processes of any user can read it.
	Runtime func() (string, error)

	// Warnings name options that the file gives under former names, which still work, and middleware
	// that should stand in front of another.
	Warnings Problems

	sources    []sourceFile // File and the files that it includes
	listed     []string     // the directories in which the patterns of include look
	settingsAt places
	root       pagi.App // the result of Build
	slow       slow.Watch
	cluster    *connection // nil: none
	services   []beside.Service
	jobs       []beside.Job

	predecessor *Site  // the one that this one replaces; nil: none, or it is replaced
	front       *front // that of all sites of one gateway
}

// Mount is one application with its host and path in the site.
type Mount struct {
	// Hosts are the hosts that the mount is for, each as Host of apps.Mount; none means all. Path is that of apps.Mount; an
	// empty Path is the root.
	Hosts []string `yaml:"host"`
	Path  string   `yaml:"path"`
	// SendFile and AccelRedirect are Roots and Redirects of apps.SendFile, for a mount of PSGI, CGI
	// or Go. For CGI the directory of the scripts is added to SendFile, unless the scripts run as
	// another user.
	SendFile      []string          `yaml:"sendfile" path:"yes"`
	AccelRedirect map[string]string `yaml:"accel_redirect" path:"yes"`
	// Isolate holds the processes of a mount of PSGI, CGI or Perl PAGI to a user, to limits and to files, in an adapter. The name
	// "none" keeps them in the gateway's process.
	Isolate Isolation `yaml:"isolate" short:"name"`
	// Namespace names the cache and the locks of a mount of PSGI or Perl PAGI. Mounts with the same one share them. The default
	// is the mount's name.
	Namespace string `yaml:"namespace"`
	// Health is a check of the application itself. A text is its path.
	Health Health `yaml:"health" short:"path"`
	// SlowRequest is how long a request of the mount may take before the log tells of it; 0 for any time. Without it the setting
	// of the site counts, for a part of a cascade or a router that of its mount. It has no effect in a part of a shadow.
	SlowRequest time.Duration `yaml:"slow_request"`
	// Kind is one of the Kind constants.
	Kind string `yaml:"-"`
	// Source is the text that names what the mount serves: "app.psgi", "public".
	Source string `yaml:"-"`
	// Options is a pointer to the application's option struct.
	Options any `yaml:"-"`
	// Middleware is around this mount, inside the site's.
	Middleware []*Middleware `yaml:"-"`
	// Parts are the applications of a cascade or a shadow, in their order, or those of a router.
	Parts []*Mount `yaml:"-"`
	// Route is the route of a part of a router; nil for any other mount, and for what Answers.
	Route *RouteOptions `yaml:"-"`
	// Answers says of a part of a router that it answers what no route has: "not_found", or
	// "method_not_allowed"; "" for any other mount.
	Answers string `yaml:"-"`
	// Workers is the number of processes of the mount; 0: none of its own. MaxWorkers is their
	// largest number if it follows the load, else 0. Build sets both.
	Workers    int `yaml:"-"`
	MaxWorkers int `yaml:"-"`

	at    places
	slow  slowness
	part  string       // position in a cascade, shadow or router, from "#1", or "#not_found"; "": in none
	app   pagi.App     // the result of Build
	files *watch.Files // watched files; a change reloads the mount

	resolved resolved
	tenant   *tenant // app with a life of its own; nil for a mount that is made of others
	kept     bool    // the tenant is the predecessor's
	stale    bool    // and its code has changed since it was loaded

	drain   *drain            // nil: a part, which cannot be drained
	probe   *probe            // nil: no check of the application itself
	counted *metrics.Requests // nil: its requests are not counted
}

// Name returns the mount's first host and its path, and the position in a cascade, shadow or router: "/#2" is the second
// part of the cascade at "/", and "/#2#1" the first part of the router there.
func (m *Mount) Name() string { return apps.Mount{Host: m.hosts()[0], Path: m.Path}.Name() + m.part }

// hosts returns the hosts of the mount, "" for all of them.
func (m *Mount) hosts() []string {
	if len(m.Hosts) == 0 {
		return []string{""}
	}
	return m.Hosts
}

// All returns the mounts, each cascade, shadow and router followed by its parts.
func (s *Site) All() []*Mount { return withParts(s.Mounts) }

func withParts(mounts []*Mount) (all []*Mount) {
	for _, m := range mounts {
		all = append(append(all, m), withParts(m.Parts)...)
	}
	return all
}

// addPart adds a part of a cascade or router, which is at the mount's place. "" stands for a name by the
// position.
func (m *Mount) addPart(part *Mount, name string) {
	m.Parts = append(m.Parts, part)
	if name == "" {
		name = strconv.Itoa(len(m.Parts))
	}
	part.part = "#" + name
	for _, p := range withParts([]*Mount{part}) {
		p.Hosts, p.Path = m.Hosts, m.Path
		if p != part {
			p.part = part.part + p.part
		}
	}
}

// says reports whether the site file gives the mount this option.
func (m *Mount) says(option string) bool {
	_, ok := m.at.options[option]
	return ok
}

// Middleware is a middleware and its name in the registry.
type Middleware struct {
	Name string          `yaml:"-"`
	Part pagi.Middleware `yaml:"-"`
	// When is what a request must match to go through the middleware, and Unless what it must not
	// match; see middleware.When.
	When   middleware.Condition `yaml:"when"`
	Unless middleware.Condition `yaml:"unless"`

	at places
}

// NewMount returns a mount of a built-in kind at the site's root. source is a file, a directory, an
// address or a text. It is used for a site that is made of flags.
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
	s.slow.Logger = s.Logger
	s.connect()
	s.share()
	s.makeBesides(&problems)
	s.front = &front{}
	if s.predecessor != nil {
		s.front = s.predecessor.front
	}
	s.measure()
	s.trace()
	for _, m := range s.Mounts {
		m.drain = s.front.drains.of(m.Name())
	}
	all := &apps.URLMap{}
	taken := map[string]*Mount{}
	for _, m := range s.Mounts {
		s.setSlow(m)
		app := named(m.Name(), s.logSlow(m, m.drain.refuses(s.application(m, &problems))))
		for _, host := range m.hosts() {
			mount := apps.Mount{Host: host, Path: m.Path, App: app}
			if other := taken[mount.Place()]; other != nil {
				problems.add(m.at.part, "%s is mounted already%s", mount.Name(), first(other.at.part))
			} else {
				taken[mount.Place()] = m
			}
			if err := mount.Check(); err != nil {
				problems.addOf(m.at, err)
			}
			all.Mounts = append(all.Mounts, mount)
		}
	}
	app := s.lookForSlow(s.inCluster(s.chain(all, s.Middleware, &problems)))
	if err := problems.err(); err != nil {
		return nil, err
	}
	s.root = app
	if s.predecessor == nil {
		s.front.app.Store(&s.root)
	}
	return s.traced(app), nil
}

// application makes the application of a mount, with all its middleware.
func (s *Site) application(m *Mount, problems *Problems) pagi.App {
	var routes routeParts
	for _, part := range m.Parts {
		app := s.logSlowPart(part, s.application(part, problems))
		switch whole := m.Options.(type) {
		case *apps.Cascade:
			whole.Apps = append(whole.Apps, app)
		case *apps.Shadow:
			whole.Apps = append(whole.Apps, app)
		case *apps.Router:
			routes.add(whole, part, app, problems)
		}
	}
	if err := errors.Join(m.check(), m.Health.check()); err != nil {
		problems.addOf(m.at, err)
	}
	if m.Health.Path != "" {
		m.probe = &probe{Health: m.Health, mount: m}
	}
	app, err := s.buildMount(m)
	if err != nil {
		routes.report(m, err, problems)
		app = lifespan.Broken(err) // go on to find further problems
		m.app = app
	} else {
		if m.tenant != nil {
			app = m.tenant
		}
		if app, err = s.sendFiles(m, app); err != nil {
			problems.addOf(m.at, err)
		}
	}
	if m.part == "" { // a cascade reads the body for all its parts
		app = s.limitBody(m, app)
	}
	return s.chain(app, m.Middleware, problems)
}

// first returns a note about the position of an earlier entry in the file.
func first(at Position) string {
	if at.Line == 0 {
		return ""
	}
	return " at " + strings.TrimSuffix(at.String(), ": ")
}

func (s *Site) buildMount(m *Mount) (pagi.App, error) {
	if (m.Kind == KindPSGI || m.Kind == KindPerlPAGI) && s.Settings.Lifespan == string(server.LifespanOff) {
		return nil, pagi.BadOption("lifespan", "must not be off: a %s mount starts its workers by it", kindWords[m.Kind])
	}
	if complete := kinds[m.Kind].complete; complete != nil {
		complete(m.Options, m, s)
	}
	isolation, apart, err := s.isolation(m)
	if err != nil {
		return nil, err
	}
	if m.says("namespace") && !sharesValues(m.Kind) {
		return nil, pagi.BadOption("namespace", "is for mounts of psgi and perlpagi, whose applications share values")
	}
	is := s.resolve(m)
	if apart {
		is.options += " " + isolation.Key()
	}
	app, err := s.buildApp(m, isolation, apart)
	if err == nil {
		s.settle(m, app, is)
	}
	return app, err
}

// buildApp makes the application of a mount, in an adapter or in this process.
func (s *Site) buildApp(m *Mount, isolation Isolation, apart bool) (pagi.App, error) {
	if apart {
		if part, is := m.Options.(*cgi.CGI); is {
			return s.cgiApart(m, part, isolation)
		}
		if err := s.setApart(m, isolation); err != nil {
			return nil, err
		}
	}
	switch part := m.Options.(type) {
	case builder:
		return part.Build()
	case pagi.App:
		return part, pagi.Check(part)
	}
	return nil, pagi.BadOption(m.Kind, "%T is no application", m.Options)
}

func (s *Site) chain(app pagi.App, list []*Middleware, problems *Problems) pagi.App {
	parts := make([]pagi.Middleware, len(list))
	for i, m := range list {
		s.complete(m.Part)
		if err := pagi.Check(m.Part); err != nil {
			problems.addOf(m.at, err)
		}
		parts[i] = m.Part
		if m.says("when") || m.says("unless") {
			conditional := middleware.When{If: m.When, Unless: m.Unless, Use: m.Part}
			if err := conditional.CheckConditions(); err != nil {
				problems.addOf(m.at, err)
			}
			parts[i] = conditional
		}
	}
	return pagi.Chain(app, parts...)
}

// says reports whether the site file gives the middleware this option.
func (m *Middleware) says(option string) bool {
	_, ok := m.at.options[option]
	return ok
}

// orderWarnings names the middleware that should stand in front of another. A mount's list goes on
// where the site's ends.
func (s *Site) orderWarnings() (warnings Problems) {
	lists := [][]*Middleware{s.Middleware}
	for _, m := range s.All() {
		lists = append(lists, slices.Concat(s.Middleware, m.Middleware))
	}
	told := map[string]bool{}
	for _, list := range lists {
		names := make([]string, len(list))
		for i, m := range list {
			names[i] = m.Name
		}
		for _, w := range middleware.Misplaced(names) {
			p := &Problem{At: list[w.Index].at.part, Err: errors.New(w.Text)}
			if !told[p.Error()] {
				told[p.Error()] = true
				warnings = append(warnings, p)
			}
		}
	}
	return warnings
}

// self returns the whole site as an application, for a mount that passes requests on to other
// mounts. The site is complete only when all mounts are built. A mount that a later site takes over reaches that site.
func (s *Site) self() pagi.App {
	front := s.front
	return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		return (*front.app.Load()).Serve(ctx, scope, receive, send)
	})
}

// base returns the directory to which file names are relative; "" is the current one.
func (s *Site) base() string { return directoryOf(s.File) }

// base returns the directory to which the mount's file names are relative: that of the site file
// with the mount.
func (m *Mount) base() string { return directoryOf(m.at.part.File) }

// directoryOf returns the directory of a site file; "" if there is no file.
func directoryOf(file string) string {
	if file == "" {
		return ""
	}
	return filepath.Dir(file)
}

// Development reports whether the site runs for its developer.
func (s *Site) Development() bool { return s.Settings.Environment == "development" }
