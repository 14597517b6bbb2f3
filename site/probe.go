package site

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/pagi/nethttp"
)

// Health is a check of a mount's own application: a GET of a path, which passes with a status below 400. It is made when
// somebody asks for the health of the mount, and not more often than Interval.
type Health struct {
	// Path is the path below the mount; "" means no check.
	Path string `yaml:"path"`
	// Interval is how long a result holds.
	Interval time.Duration `yaml:"interval" default:"10s"`
	// Timeout is how long the application may take.
	Timeout time.Duration `yaml:"timeout" default:"3s"`
}

func (h *Health) check() error {
	var errs []error
	if h.Path != "" && !strings.HasPrefix(h.Path, "/") {
		errs = append(errs, pagi.BadOption("health.path", "%q must begin with a slash; it is below the mount", h.Path))
	}
	if h.Path == "" && (h.Interval != 0 || h.Timeout != 0) {
		errs = append(errs, pagi.BadOption("health.path", "is missing"))
	}
	for name, d := range map[string]time.Duration{"interval": h.Interval, "timeout": h.Timeout} {
		if d < 0 {
			errs = append(errs, pagi.BadOption("health."+name, "must not be negative, is %v", d))
		}
	}
	return errors.Join(errs...)
}

// probe makes the checks of a Health and keeps the last result.
type probe struct {
	Health
	mount *Mount

	mu     sync.Mutex // held while the check is made, so that one check is made for all who ask meanwhile
	at     time.Time  // when the result came
	result error
}

// check returns the last result while it holds, and otherwise makes the check.
func (p *probe) check(ctx context.Context) error {
	interval, timeout := p.Interval, p.Timeout
	if interval == 0 {
		interval = 10 * time.Second
	}
	if timeout == 0 {
		timeout = 3 * time.Second
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.at.IsZero() && time.Since(p.at) < interval {
		return p.result
	}
	// Who asks first may go away; the result is for the others, too.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	p.result = p.ask(ctx)
	p.at = time.Now()
	return p.result
}

// ask makes one request of the application, inside the middleware of the mount. Its errors are for visitors.
func (p *probe) ask(ctx context.Context) error {
	m := p.mount
	host := m.hosts()[0]
	if host == "" || strings.HasPrefix(host, "*") {
		host = "localhost"
	}
	prefix := strings.TrimSuffix(m.Path, "/")
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+prefix+p.Path, nil)
	if err != nil {
		return fmt.Errorf("health.path: %w", err)
	}
	r.RequestURI = r.URL.RequestURI()
	r.Header.Set("User-Agent", "pagi-bridge/health")
	r.RemoteAddr = "127.0.0.1:0"
	handler := &engine.Handler{App: m.app}
	if m.tenant != nil {
		handler.App, handler.State = m.tenant, m.tenant.currentState
	}
	w := &statusWriter{header: http.Header{}}
	http.StripPrefix(prefix, &nethttp.Adapter{Engine: handler}).ServeHTTP(w, r)
	switch {
	case ctx.Err() != nil:
		return errors.New("its health check takes too long")
	case w.status == 0:
		return errors.New("its health check got no answer")
	case w.status >= 400:
		return fmt.Errorf("its health check got status %d", w.status)
	}
	return nil
}

// statusWriter keeps the status of a response, and drops the body.
type statusWriter struct {
	header http.Header
	status int
}

func (w *statusWriter) Header() http.Header { return w.header }

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
}

func (w *statusWriter) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return len(p), nil
}
