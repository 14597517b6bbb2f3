package middleware

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// Healthcheck answers health checks in front of the application, as JSON: with 200 if all checks
// pass, and with 503 otherwise. With ?mount=NAME a check is about one mount: 404 says that there is none of that name.
type Healthcheck struct {
	// Path is the path of the check; "" means /health, and "off" none.
	Path string `yaml:"path"`
	// LivePath is a path that is 200 as long as the program runs; "" means none.
	LivePath string `yaml:"live_path"`
	// ReadyPath is a path that runs the checks, as Path does; "" means none.
	ReadyPath string `yaml:"ready_path"`
	// Checks are functions that return nil if what they look at works. They run concurrently.
	Checks map[string]func(context.Context) error `yaml:"-"`
	// Mounts are functions that return nil if a new request to the mount of that name would be served.
	Mounts map[string]func(context.Context) error `yaml:"-"`
	// Draining reports whether the program is about to stop, so that all checks but that of LivePath fail; nil means never.
	Draining func() bool `yaml:"-"`
	// Timeout is how long the checks of a request may take; 0 means 5 seconds.
	Timeout time.Duration `yaml:"timeout" default:"5s" zero:"must be more than 0"`
	// HideDetails leaves the single checks out of the answer. Their errors may tell visitors more than
	// they should know.
	HideDetails bool `yaml:"hide_details"`
	// Version is that of the application, which the answer tells; "" leaves it out.
	Version string `yaml:"version"`
}

func init() { parts.Middleware[Healthcheck]("healthcheck") }

// Check reports paths that do not begin with a slash, and a negative Timeout.
func (m Healthcheck) Check() error {
	var errs []error
	for option, path := range map[string]string{"path": m.Path, "live_path": m.LivePath, "ready_path": m.ReadyPath} {
		if path != "" && (option != "path" || path != "off") {
			errs = append(errs, checkPaths(option, []string{path}))
		}
	}
	if m.Timeout < 0 {
		errs = append(errs, pagi.BadOption("timeout", "must not be negative, is %v", m.Timeout))
	}
	return errors.Join(errs...)
}

// Wrap puts m around next.
func (m Healthcheck) Wrap(next pagi.App) pagi.App {
	if m.Timeout == 0 {
		m.Timeout = 5 * time.Second
	}
	full := []string{or(m.Path, "/health"), m.ReadyPath}
	on := onward(next)
	return wrapPassage(m, next, func(ctx context.Context, p passage) error {
		scope := p.scope
		path := scope.RootPath + scope.Path
		live := path == m.LivePath
		if path == "" || scope.Type != pagi.TypeHTTP || !live && !slices.Contains(full, path) {
			return on(ctx, p)
		}
		send := p.sender()
		if scope.Method != http.MethodGet && scope.Method != http.MethodHead {
			return reply.Status(ctx, scope, send, http.StatusMethodNotAllowed, "allow", "GET, HEAD")
		}
		var report healthReport
		if !live {
			checks, known := m.checksFor(scope.QueryString)
			if !known {
				return reply.Text(ctx, scope, send, http.StatusNotFound, "There is no mount of that name.", "cache-control", "no-store")
			}
			report = m.run(ctx, checks)
		}
		return m.tell(ctx, scope, send, report)
	})
}

// checksFor returns the checks that a query asks for: all, or with ?mount=NAME that of a mount.
func (m Healthcheck) checksFor(query string) (checks map[string]func(context.Context) error, known bool) {
	checks = m.Checks
	if values, err := url.ParseQuery(query); err == nil && values.Has("mount") {
		name := values.Get("mount")
		check := m.Mounts[name]
		if check == nil {
			return nil, false
		}
		checks = map[string]func(context.Context) error{"mount " + name: check}
	}
	if m.Draining != nil && m.Draining() {
		checks = maps.Clone(checks)
		if checks == nil {
			checks = map[string]func(context.Context) error{}
		}
		checks["gateway"] = func(context.Context) error { return errors.New("it is being drained") }
	}
	return checks, true
}

// healthReport has the error of each check; "" for one that has passed.
type healthReport map[string]string

// run runs the checks. One that does not end in time has failed; its goroutine ends when the check
// obeys its context.
func (m Healthcheck) run(ctx context.Context, checks map[string]func(context.Context) error) healthReport {
	ctx, cancel := context.WithTimeout(ctx, m.Timeout)
	defer cancel()
	report := make(healthReport, len(checks))
	var mu sync.Mutex
	var all sync.WaitGroup
	for name := range checks {
		report[name] = fmt.Sprintf("no result within %v", m.Timeout)
	}
	for name, check := range checks {
		all.Go(func() {
			err := runCheck(ctx, check)
			mu.Lock()
			defer mu.Unlock()
			report[name] = ""
			if err != nil {
				report[name] = err.Error()
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
	}
	mu.Lock()
	defer mu.Unlock()
	return maps.Clone(report)
}

// runCheck turns a panic of a check into an error.
func runCheck(ctx context.Context, check func(context.Context) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return check(ctx)
}

// tell sends a report.
func (m Healthcheck) tell(ctx context.Context, scope *pagi.Scope, send pagi.Send, report healthReport) error {
	type result struct {
		Status string `json:"status"`
		Error  string `json:"error,omitempty"`
	}
	body := struct {
		Status  string            `json:"status"`
		Version string            `json:"version,omitempty"`
		Checks  map[string]result `json:"checks,omitempty"`
	}{Status: "ok", Version: m.Version, Checks: map[string]result{}}
	status := http.StatusOK
	for name, text := range report {
		body.Checks[name] = result{Status: "ok"}
		if text != "" {
			body.Checks[name] = result{"error", text}
			body.Status, status = "error", http.StatusServiceUnavailable
		}
	}
	if m.HideDetails {
		body.Checks = nil
	}
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return reply.Send(ctx, scope, send, status, pagi.NewHeaders("content-type", "application/json", "cache-control", "no-store"), text)
}
