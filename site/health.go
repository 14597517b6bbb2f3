package site

import (
	"context"
	"errors"
	"slices"

	"github.com/pagi-go/pagi-bridge/bridge/pool"
	"github.com/pagi-go/pagi-bridge/internal/status"
)

// checks returns a health check for each mount that has workers, or a check of its own: it passes if the mount could take a
// request now. Its errors are for visitors, and say nothing of the application.
//
// A mount that is drained passes: the rest of the site is to go on. So does a proxy whose upstreams are away: other gateways
// would have the same upstreams. mountChecks has those.
func (s *Site) checks() map[string]func(context.Context) error {
	all := map[string]func(context.Context) error{}
	for _, m := range s.All() {
		if m.Kind == KindPSGI || m.Kind == KindPerlPAGI || m.Health.Path != "" {
			all["mount "+m.Name()] = m.isReady
		}
	}
	return all
}

// mountChecks returns a check for each mount by its name. It fails also where the mount is drained, or a proxy without an
// upstream.
func (s *Site) mountChecks() map[string]func(context.Context) error {
	all := map[string]func(context.Context) error{}
	for _, m := range s.All() {
		all[m.Name()] = m.isOpen
	}
	return all
}

// draining reports whether the whole site is being drained.
func (s *Site) draining() bool { return !s.Draining().IsZero() }

// isOpen reports why a new request to the mount would not be served now.
func (m *Mount) isOpen(ctx context.Context) error {
	now := m.Status()
	switch {
	case !now.Draining.IsZero():
		return errors.New("it is drained")
	case now.Backend != nil && len(now.Upstreams) > 0 && !slices.ContainsFunc(now.Upstreams, func(u status.Upstream) bool { return u.State == "up" }):
		return errors.New("no upstream is up")
	}
	return m.isReady(ctx)
}

// isReady reports why the mount could not take a request now.
func (m *Mount) isReady(ctx context.Context) error {
	now := m.Status()
	switch {
	case now.Backend == nil:
	case now.Circuit == "open":
		return errors.New("its workers cannot be started")
	case m.hasWorkers(now) && !slices.ContainsFunc(now.Workers, serves):
		return errors.New("no worker is ready")
	}
	if m.probe == nil {
		return nil
	}
	return m.probe.check(ctx)
}

// hasWorkers reports whether a mount cannot serve without a worker.
func (m *Mount) hasWorkers(now status.Mount) bool {
	return m.Kind == KindPSGI || m.Kind == KindPerlPAGI || len(now.Workers) > 0
}

// serves reports whether a worker has a request, or could take one.
func serves(w status.Worker) bool {
	return w.State == pool.Ready.String() || w.State == pool.Busy.String()
}
