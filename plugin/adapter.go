package plugin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/proc"
	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/plugin/internal/control"
	"github.com/pagi-go/pagi-bridge/plugin/internal/pluginpb"
)

// kind is the kind of the mounts of a plugin of this kit.
const kind = "app"

// adapter is a plugin of this kit: a control.Adapter. The applications of all mounts run in this process.
type adapter struct {
	name, version string
	config        func() any // a new pointer to the options; nil: it has none
	make          func(config any) (pagi.App, error)
	fixed         bool // make returns the same application each time
	server        *control.Server

	mu        sync.Mutex
	directory string
	mounts    map[string]*mount
	sockets   int // made so far, for their names
	since     time.Time
}

// mount is one mount and the listener that serves it. Adapter.mu guards its fields.
type mount struct {
	id, name   string
	options    []byte
	log        *slog.Logger
	generation int
	current    *listener   // nil before Start
	old        []*listener // replaced by a reload, and not ended yet
	reload     sync.Mutex  // one at a time
}

// Describe implements control.Adapter.
func (a *adapter) Describe() *pluginpb.DescribeResponse {
	d := &pluginpb.DescribeResponse{
		Name: a.name, Version: a.version, Kinds: []string{kind},
		About: map[string]string{"language": "Go", "runtime": runtime.Version(), "kit": "pagi-bridge"},
	}
	if a.config != nil {
		d.Config = describe(a.config(), "")
	}
	return d
}

// options reads the options of a mount.
func (a *adapter) options(m *mount) (config any, errs []*pluginpb.FieldError) {
	if a.config != nil {
		config = a.config()
	}
	errs = decode(m.options, config)
	for _, e := range errs {
		e.Mount = m.id
	}
	return config, errs
}

// Configure implements control.Adapter.
func (a *adapter) Configure(_ context.Context, r *pluginpb.ConfigureRequest) (errs []*pluginpb.FieldError) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.directory, a.mounts = r.Directory, map[string]*mount{}
	for _, m := range r.Mounts {
		if m.Kind != kind {
			errs = append(errs, &pluginpb.FieldError{Mount: m.Id, Message: fmt.Sprintf("this plugin serves mounts of the kind %q, not %q", kind, m.Kind)})
			continue
		}
		one := &mount{id: m.Id, name: m.Name, options: m.Options, log: a.server.Book.Logger(m.Id), generation: 1}
		_, wrong := a.options(one)
		errs = append(errs, wrong...)
		a.mounts[m.Id] = one
	}
	return errs
}

// app makes the application of a mount.
func (a *adapter) app(m *mount) (app pagi.App, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	config, errs := a.options(m)
	if len(errs) > 0 {
		return nil, fmt.Errorf("%s: %s", errs[0].Field, errs[0].Message)
	}
	if app, err = a.make(config); err == nil && app == nil {
		err = errors.New("its New returns no application")
	}
	return app, err
}

// Start implements control.Adapter.
func (a *adapter) Start(context.Context) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.since = time.Now()
	for _, m := range a.mounts {
		app, err := a.app(m)
		if err == nil {
			m.current, err = a.listenLocked(m, app)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
	}
	return nil
}

// Reload implements control.Adapter: a new application at a new socket, and the old one goes once it has no scopes.
// If the new one fails in its startup, the old one goes on.
func (a *adapter) Reload(ctx context.Context, id string) error {
	a.mu.Lock()
	m := a.mounts[id]
	a.mu.Unlock()
	switch {
	case m == nil:
		return fmt.Errorf("there is no mount %q", id)
	case a.fixed:
		return nil
	}
	m.reload.Lock()
	defer m.reload.Unlock()
	app, err := a.app(m)
	if err != nil {
		return err
	}
	a.mu.Lock()
	m.generation++
	next, err := a.listenLocked(m, app)
	old := m.current
	if err == nil {
		m.old = append(m.old, next) // until it is known to work
	}
	a.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case err = <-next.begun:
	case <-ctx.Done():
		err = fmt.Errorf("the gateway does not begin to use it: %w", context.Cause(ctx))
	}
	if err != nil {
		next.withdraw()
		return err
	}
	a.mu.Lock()
	m.old = append(slices.DeleteFunc(m.old, func(other *listener) bool { return other == next }), old)
	m.current = next
	a.mu.Unlock()
	old.withdraw()
	return nil
}

// ended is called when a listener has ended.
func (a *adapter) ended(m *mount, l *listener) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m.old = slices.DeleteFunc(m.old, func(other *listener) bool { return other == l })
}

// listeners returns all that have not ended.
func (a *adapter) listeners() (list []*listener) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, m := range a.mounts {
		list = append(list, m.old...)
		if m.current != nil {
			list = append(list, m.current)
		}
	}
	return list
}

// Drain implements control.Adapter.
func (a *adapter) Drain() {
	for _, l := range a.listeners() {
		l.withdraw()
	}
}

// Stop implements control.Adapter.
func (a *adapter) Stop(ctx context.Context) error {
	list := a.listeners()
	for _, l := range list {
		l.withdraw()
	}
	for _, l := range list {
		l.stop(ctx)
	}
	return nil
}

// Status implements control.Adapter.
func (a *adapter) Status() map[string]status.Backend {
	resident, err := proc.Resident(os.Getpid())
	if err != nil {
		resident = 0 // the system does not tell
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	all := map[string]status.Backend{}
	for id, m := range a.mounts {
		b := status.Backend{Generation: m.generation}
		list := slices.Clone(m.old)
		if m.current != nil {
			list = append(list, m.current)
		}
		for _, l := range list {
			served, inflight := l.counts()
			state := "ready"
			switch {
			case l != m.current:
				state = "draining"
			case inflight > 0:
				state = "busy"
			}
			b.Workers = append(b.Workers, status.Worker{
				ID: l.number, PID: os.Getpid(), State: state, Generation: l.generation, Served: served, Inflight: inflight, Since: l.since, Resident: resident,
			})
			b.Running += inflight
		}
		all[id] = b
	}
	return all
}
