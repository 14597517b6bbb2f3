package site

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// retryDrained is the Retry-After of a mount that is drained.
const retryDrained = "10"

// drains tell what is drained: the whole site, whose readiness then fails, and single mounts, which refuse requests. All
// sites of one gateway have the same.
type drains struct {
	whole drain

	mu     sync.Mutex
	mounts map[string]*drain // by name
}

// drain is when a draining began, in nanoseconds since 1970; 0 for none.
type drain struct{ began atomic.Int64 }

// set begins or ends the draining, and reports whether that is a change.
func (d *drain) set(on bool) bool {
	if !on {
		return d.began.Swap(0) != 0
	}
	return d.began.CompareAndSwap(0, time.Now().UnixNano())
}

// since returns when the draining began, the zero time if there is none.
func (d *drain) since() time.Time {
	if began := d.began.Load(); began != 0 {
		return time.Unix(0, began)
	}
	return time.Time{}
}

// of returns the drain of a mount.
func (ds *drains) of(mount string) *drain {
	ds.mu.Lock()
	defer ds.mu.Unlock()
	if ds.mounts == nil {
		ds.mounts = map[string]*drain{}
	}
	if ds.mounts[mount] == nil {
		ds.mounts[mount] = &drain{}
	}
	return ds.mounts[mount]
}

// Drain has the readiness of the site fail, or pass again, and reports whether that is a change. Requests are served as before.
// The sites that replace this one go on with it. Build must have been called.
func (s *Site) Drain(on bool) bool { return s.front.drains.whole.set(on) }

// Draining returns when Drain was called, the zero time if the site is not being drained.
func (s *Site) Draining() time.Time { return s.front.drains.whole.since() }

// DrainMount has the mount of a name refuse new requests with 503, or take them again, and reports whether that is a change.
// Requests, WebSockets and event streams that it has go on. The mount of that name in the sites that replace this one goes on
// with it. Build must have been called.
func (s *Site) DrainMount(name string, on bool) (changed bool, err error) {
	var names []string
	for _, m := range s.Mounts {
		if m.Name() == name {
			return m.drain.set(on), nil
		}
		names = append(names, m.Name())
	}
	slices.Sort(names)
	return false, fmt.Errorf("there is no mount %s that can be drained; there are: %s", name, strings.Join(names, ", "))
}

// refuses wraps the application of a mount: while the mount is drained, new requests get 503.
func (d *drain) refuses(app pagi.App) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if d.began.Load() != 0 && scope.Type != pagi.TypeLifespan {
			return reply.Status(ctx, scope, send, http.StatusServiceUnavailable, "retry-after", retryDrained, "cache-control", "no-store")
		}
		return app.Serve(ctx, scope, receive, send)
	})
}

// HasHealthcheck reports whether a middleware of the site, or of one of its mounts, answers health checks.
func (s *Site) HasHealthcheck() bool {
	isOne := func(m *Middleware) bool { return m.Name == "healthcheck" }
	return slices.ContainsFunc(s.Middleware, isOne) ||
		slices.ContainsFunc(s.All(), func(m *Mount) bool { return slices.ContainsFunc(m.Middleware, isOne) })
}
