package site

import (
	"context"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// slowness is what a mount is held to by slow_request.
type slowness struct {
	after time.Duration // 0: any time
	// watched is set where the mount at the top, or any of its parts, has a threshold.
	watched bool
}

// setSlow sets what a mount and its parts are held to. A part without a threshold of its own has that of its whole. Those of a shadow
// have none of their own: one request goes to all of them.
func (s *Site) setSlow(m *Mount) {
	own := func(m *Mount, otherwise time.Duration) time.Duration {
		if m.says("slow_request") {
			otherwise = m.SlowRequest
		}
		return max(otherwise, 0)
	}
	var descend func(*Mount) (any bool)
	descend = func(m *Mount) (any bool) {
		any = m.slow.after > 0
		if m.Kind == KindShadow {
			return any
		}
		for _, part := range m.Parts {
			part.slow.after = own(part, m.slow.after)
			any = descend(part) || any
		}
		return any
	}
	var mark func(*Mount)
	mark = func(m *Mount) {
		m.slow.watched = true
		if m.Kind == KindShadow {
			return
		}
		for _, part := range m.Parts {
			mark(part)
		}
	}
	m.slow.after = own(m, s.Settings.SlowRequest)
	if descend(m) {
		mark(m)
	}
}

// logSlow has slow requests of a mount be logged, where it or one of its parts has a threshold.
func (s *Site) logSlow(m *Mount, app pagi.App) pagi.App {
	if !m.slow.watched {
		return app
	}
	return s.slow.Around(m.Name(), m.slow.after, m.locate, app)
}

// logSlowPart does the same for a part of a mount.
func (s *Site) logSlowPart(part *Mount, app pagi.App) pagi.App {
	if !part.slow.watched {
		return app
	}
	return s.slow.AroundPart(part.Name(), part.slow.after, part.locate, app)
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
