package site

import (
	"context"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// slowAfter is how long a request of a mount may take before it is logged; 0 for any time.
func (s *Site) slowAfter(m *Mount) time.Duration {
	if m.says("slow_request") {
		return max(m.SlowRequest, 0)
	}
	return max(s.Settings.SlowRequest, 0)
}

// logSlow has slow requests of a mount be logged, where it or the site has a threshold.
func (s *Site) logSlow(m *Mount, app pagi.App) pagi.App {
	after := s.slowAfter(m)
	if after == 0 {
		return app
	}
	return s.slow.Around(m.Name(), after, m.locate, app)
}

// lookForSlow has the application look for slow requests as long as it lives, where a mount has a threshold.
func (s *Site) lookForSlow(app pagi.App) pagi.App {
	if !s.slow.Any() {
		return app
	}
	return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Type == pagi.TypeLifespan {
			looking, stop := context.WithCancel(ctx)
			var run sync.WaitGroup
			run.Go(func() { s.slow.Run(looking) })
			defer run.Wait()
			defer stop()
		}
		return app.Serve(ctx, scope, receive, send)
	})
}

// locate finds the process that has a request of the mount, by what the mount tells of its processes; 0 for none, or more
// than one.
func (m *Mount) locate(method, path, id string) (pid int) {
	for _, part := range withParts([]*Mount{m}) {
		now := part.Status()
		if now.Backend == nil {
			continue
		}
		is := func(r *status.Request) bool {
			return r != nil && r.Method == method && r.Path == path && (id == "" || r.ID == id)
		}
		var found []int
		for i := range now.Workers {
			if is(now.Workers[i].Request) {
				found = append(found, now.Workers[i].PID)
			}
		}
		for i := range now.Scripts {
			if is(now.Scripts[i].Request) {
				found = append(found, now.Scripts[i].PID)
			}
		}
		if len(found) == 1 {
			return found[0]
		}
	}
	return 0
}
