package site

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/pagi-go/pagi-bridge/bridge/perlpagi"
	"github.com/pagi-go/pagi-bridge/bridge/psgi"
	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/tenure"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/plugin/host"
)

// How a site keeps mounts of the site that it replaces. A mount whose options have not changed goes on with its
// processes, its state and its clients: both sites have the same tenant. The tenant starts with the first site that
// has it and is shut down with the last one.
//
//	next.Succeed(old)   before next.Build: Build takes the tenants of old whose options are the same
//	server.Reload       starts next: its lifespan reaches new tenants only; then requests go to next
//	next.TakeOver       ends the streams of the tenants that next does not have

// tenant is the application of a mount, which several sites may have one after another.
type tenant struct {
	app    pagi.App
	tenure *tenure.Tenure

	mu    sync.Mutex // held while it starts and stops
	sites int        // how many sites have started it and not stopped it
	run   *lifespan.Run
	state map[string]any // what it has put into the state of its lifespan scope
}

func newTenant(app pagi.App) *tenant { return &tenant{app: app, tenure: tenure.New()} }

// Serve implements pagi.App.
func (t *tenant) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	switch scope.Type {
	case pagi.TypeLifespan:
		return lifespan.Serve(ctx, receive, send,
			func(ctx context.Context) error { return t.start(ctx, scope) }, t.stop)
	case pagi.TypeSSE, pagi.TypeWebSocket:
		if scope.Stash != nil {
			t.tenure.Mark(scope.Stash)
		}
	}
	return t.app.Serve(ctx, scope, receive, send)
}

// currentState returns what the application has put into its state.
func (t *tenant) currentState() map[string]any {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state
}

// start starts the application, unless it is running, and adds its state to that of scope.
func (t *tenant) start(ctx context.Context, scope *pagi.Scope) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sites++; t.sites == 1 {
		own := scope.Clone()
		own.State = map[string]any{}
		for key, value := range scope.State {
			own.State[key] = value
		}
		run, err := lifespan.Start(ctx, t.app, own)
		if err != nil {
			return lifespan.OwnMessage(err)
		}
		t.run, t.state = run, own.State
	}
	if scope.State != nil {
		for key, value := range t.state {
			scope.State[key] = value
		}
	}
	return nil
}

// stop is called for each start, also for one that has failed.
func (t *tenant) stop(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	run := t.run
	if t.sites--; t.sites > 0 || run == nil {
		return nil
	}
	t.run = nil
	t.tenure.End()
	return lifespan.OwnMessage(run.Shutdown(ctx))
}

// resolved is what a mount was built of. It tells whether a later site has the same mount.
type resolved struct {
	options string // the kind and the options as a text
	code    string // names, times and sizes of the files with code that are known
}

// resolve describes a mount once its options are complete.
func (s *Site) resolve(m *Mount) resolved {
	r := resolved{options: fmt.Sprintf("%s %T %s", m.Kind, m.Options, option.Text(m.Options))}
	if s.cluster != nil {
		r.options += " " + option.Text(&s.Settings.Cluster)
	}
	if sharesValues(m.Kind) {
		r.options += " " + m.namespace()
	}
	switch o := m.Options.(type) {
	case *psgi.PSGI:
		r.addPerl(o.App, o.Lib)
	case *perlpagi.PAGI:
		r.addPerl(o.App, o.Lib)
	case *host.Plugin:
		r.code = o.Code()
	}
	return r
}

// addPerl describes the files of an application in Perl.
func (r *resolved) addPerl(app string, lib []string) {
	r.options += " " + realPath(app)
	r.code = codeOf(append([]string{app}, lib...))
}

// realPath returns where a name leads, because a deployment may change a link in it; "" if it leads nowhere.
func realPath(name string) string {
	path, err := filepath.EvalSymlinks(name)
	if err != nil {
		return "" // Build reports it
	}
	return path
}

// codeOf describes the files with Perl code among names, and below those that are directories.
func codeOf(names []string) string {
	var b strings.Builder
	add := func(name string, info fs.FileInfo) {
		fmt.Fprintf(&b, "%s %d %d\n", name, info.ModTime().UnixNano(), info.Size())
	}
	for _, name := range names {
		info, err := os.Stat(name)
		switch {
		case err != nil: // it has no code
		case !info.IsDir():
			add(name, info)
		default:
			root := realPath(name)
			// A directory that cannot be read has no code that a worker could load.
			_ = filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
				if err == nil && entry.IsDir() && path != root && strings.HasPrefix(entry.Name(), ".") {
					return fs.SkipDir
				}
				if err == nil && slices.Contains(perlSuffixes, filepath.Ext(path)) {
					if info, err := entry.Info(); err == nil {
						add(path, info)
					}
				}
				return nil
			})
		}
	}
	return b.String()
}

// front is what all sites of one gateway have together.
type front struct {
	app    atomic.Pointer[pagi.App] // what a mount reaches by Site.self: the site which gets the requests
	drains drains
}

// Succeed has Build take over from old each mount whose name and options are the same, with its processes, its state,
// its WebSockets and its event streams. Call TakeOver once the server has been reloaded with the application of s.
//
// Groups of mounts (cascade, router, shadow) are built anew; their parts are taken over. Middleware is always built anew.
func (s *Site) Succeed(old *Site) { s.predecessor = old }

// TakeOver ends the WebSockets and event streams of the predecessor's mounts that s does not have. Mounts that were
// taken over load their code again if their files have changed: the file of an application in Perl, and Perl files in its
// lib. The error tells of each mount that could not; it goes on as it was.
func (s *Site) TakeOver(ctx context.Context) error {
	old := s.predecessor
	s.predecessor = nil
	s.front.app.Store(&s.root)
	if old == nil {
		return nil
	}
	here := map[*tenant]bool{}
	for _, m := range s.All() {
		here[m.tenant] = true
	}
	for _, m := range old.All() {
		if m.tenant != nil && !here[m.tenant] {
			m.tenant.tenure.End()
		}
	}
	return s.reload(ctx, func(m *Mount) bool { return m.stale })
}

// Kept returns the names of the mounts that Build has taken over from the predecessor.
func (s *Site) Kept() (names []string) {
	for _, m := range s.All() {
		if m.kept {
			names = append(names, m.Name())
		}
	}
	return names
}

// settle gives a mount its tenant: that of the predecessor's mount if that is the same.
func (s *Site) settle(m *Mount, app pagi.App, is resolved) {
	m.app, m.resolved = app, is
	if len(m.Parts) > 0 { // it is made of this site's applications
		return
	}
	if old := s.predecessor.mount(m.Name()); old != nil && old.tenant != nil && old.resolved.options == is.options {
		m.app, m.tenant, m.files, m.kept = old.app, old.tenant, old.files, true
		m.stale = old.resolved.code != is.code
		m.tenant.tenure.Keep()
		return
	}
	m.tenant = newTenant(app)
}

// mount returns the mount with a name, nil if there is none or s is nil.
func (s *Site) mount(name string) *Mount {
	if s == nil {
		return nil
	}
	all := s.All()
	if i := slices.IndexFunc(all, func(m *Mount) bool { return m.Name() == name }); i >= 0 {
		return all[i]
	}
	return nil
}

// reload has the mounts that which selects load their code again, one after another.
func (s *Site) reload(ctx context.Context, which func(*Mount) bool) error {
	var errs []error
	for _, m := range s.All() {
		app, ok := m.app.(reloader)
		if !ok || !which(m) {
			continue
		}
		code := s.resolve(m).code // before it is loaded: what changes meanwhile is loaded next time
		if err := app.Reload(ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", m.Name(), err))
			continue
		}
		m.resolved.code, m.stale = code, false
	}
	return errors.Join(errs...)
}
