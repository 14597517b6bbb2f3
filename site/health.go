package site

import (
	"context"
	"errors"
	"slices"

	"github.com/pagi-go/pagi-bridge/bridge/pool"
	"github.com/pagi-go/pagi-bridge/internal/status"
)

// checks returns a health check for each mount that has workers: it passes if the mount could take a
// request now. Its errors are for visitors, and say nothing of the application.
func (s *Site) checks() map[string]func(context.Context) error {
	all := map[string]func(context.Context) error{}
	for _, m := range s.All() {
		if m.Kind == KindPSGI || m.Kind == KindPerlPAGI {
			all["mount "+m.Name()] = m.isReady
		}
	}
	return all
}

// isReady reports why the mount could not take a request now.
func (m *Mount) isReady(context.Context) error {
	now := m.Status()
	switch {
	case now.Backend == nil:
		return nil
	case now.Circuit == "open":
		return errors.New("its workers cannot be started")
	case !slices.ContainsFunc(now.Workers, serves):
		return errors.New("no worker is ready")
	}
	return nil
}

// serves reports whether a worker has a request, or could take one.
func serves(w status.Worker) bool {
	return w.State == pool.Ready.String() || w.State == pool.Busy.String()
}
