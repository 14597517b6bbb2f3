package middleware_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

func ExampleMaintenance() {
	app := middleware.Maintenance{Enabled: true, RetryAfter: 10 * time.Minute, BypassPaths: []string{"/health"}}.Wrap(hello)
	c := pagitest.New(app)
	res := c.Get("/")
	fmt.Println(res.Status, res.Header("retry-after"), c.Get("/health").Status)
	// Output: 503 600 200
}

func TestMaintenance(t *testing.T) {
	dir := t.TempDir()
	flag, page := filepath.Join(dir, "flag"), filepath.Join(dir, "page.html")
	for _, name := range []string{flag, page} {
		if err := os.WriteFile(name, []byte("<p>page"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, tc := range map[string]struct {
		m         middleware.Maintenance
		path      string
		client    string
		body, typ string // "": the request reaches the application
	}{
		"switched off":                        {middleware.Maintenance{}, "/", "", "", ""},
		"switched on":                         {middleware.Maintenance{Enabled: true}, "/", "", "Back soon", "text/html; charset=utf-8"},
		"by a file":                           {middleware.Maintenance{File: flag}, "/", "", "Back soon", "text/html; charset=utf-8"},
		"by a file that is not there":         {middleware.Maintenance{File: flag + "2"}, "/", "", "", ""},
		"by a function":                       {middleware.Maintenance{On: func(s *pagi.Scope) bool { return s.Path == "/x" }}, "/x", "", "Back soon", "text/html; charset=utf-8"},
		"by a function that says no":          {middleware.Maintenance{On: func(s *pagi.Scope) bool { return s.Path == "/x" }}, "/y", "", "", ""},
		"with a text":                         {middleware.Maintenance{Enabled: true, Body: "{}", ContentType: "application/json"}, "/", "", "{}", "application/json"},
		"with a page":                         {middleware.Maintenance{Enabled: true, Page: page}, "/", "", "<p>page", "text/html; charset=utf-8"},
		"a client that may pass":              {middleware.Maintenance{Enabled: true, BypassIPs: []string{"10.0.0.0/8"}}, "/", "10.0.0.1", "", ""},
		"a client that may not":               {middleware.Maintenance{Enabled: true, BypassIPs: []string{"10.0.0.0/8"}}, "/", "192.0.2.7", "Back soon", "text/html; charset=utf-8"},
		"a path that stays":                   {middleware.Maintenance{Enabled: true, BypassPaths: []string{"/health", "/static/"}}, "/static/x", "", "", ""},
		"a path that looks like one of those": {middleware.Maintenance{Enabled: true, BypassPaths: []string{"/static/"}}, "/static/../x", "", "Back soon", "text/html; charset=utf-8"},
	} {
		if err := tc.m.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		res := pagitest.New(tc.m.Wrap(hello)).Get("/", pagitest.Edit(func(s *pagi.Scope) { s.Path, s.Client.Host = tc.path, tc.client }))
		if tc.body == "" {
			res.Expect(t, 200, "hello")
		} else if res.Err != nil || res.Status != 503 || !strings.Contains(res.Text(), tc.body) || res.Header("content-type") != tc.typ || res.Header("cache-control") != "no-store" {
			t.Errorf("%s: %d %v %q %v", name, res.Status, res.Headers, res.Text(), res.Err)
		}
		for _, typ := range []string{pagi.TypeSSE, pagi.TypeWebSocket} {
			scope := pagi.Scope{Type: typ, Path: tc.path, Client: pagi.Addr{Host: tc.client}, Extensions: map[string]any{pagi.ExtDenialResponse: struct{}{}}}
			if reached, status := reaches(t, tc.m, scope); reached != (tc.body == "") || !reached && status != 503 {
				t.Errorf("%s, %s: %v %d", name, typ, reached, status)
			}
		}
	}
	if res := pagitest.New(middleware.Maintenance{Enabled: true, RetryAfter: 1500 * time.Millisecond}.Wrap(hello)).Get("/"); res.Header("retry-after") != "2" {
		t.Errorf("Retry-After %q", res.Header("retry-after"))
	}
	for want, m := range map[string]middleware.Maintenance{
		`bypass_ips: "x" is neither an IP address nor a network as 10.0.0.0/8`: {BypassIPs: []string{"x"}},
		`bypass_paths: "x" must begin with a slash`:                            {BypassPaths: []string{"x"}},
		`retry_after: must not be negative, is -1s`:                            {RetryAfter: -time.Second},
		`page: stands beside body; leave one out`:                              {Body: "x", Page: page},
		`page: stat /nowhere: no such file or directory`:                       {Page: "/nowhere"},
		`content_type: "a\nb" must not contain control characters`:             {ContentType: "a\nb"},
	} {
		checkFails(t, m, want)
	}
}

func ExampleHealthcheck() {
	app := middleware.Healthcheck{Checks: map[string]func(context.Context) error{
		"database": func(context.Context) error { return errors.New("no connection") },
	}}.Wrap(hello)
	res := pagitest.New(app).Get("/health")
	fmt.Println(res.Status, res.Text())
	// Output: 503 {"status":"error","checks":{"database":{"status":"error","error":"no connection"}}}
}

func TestHealthcheck(t *testing.T) {
	checks := map[string]func(context.Context) error{
		"good":   func(context.Context) error { return nil },
		"bad":    func(context.Context) error { return errors.New("broken") },
		"panics": func(context.Context) error { panic("oh") },
	}
	good := map[string]func(context.Context) error{"good": checks["good"]}
	yes := func() bool { return true }
	for name, tc := range map[string]struct {
		m              middleware.Healthcheck
		method, target string
		status         int
		body           string
	}{
		"no checks":                {middleware.Healthcheck{}, "GET", "/health", 200, `{"status":"ok"}`},
		"another path":             {middleware.Healthcheck{}, "GET", "/healthy", 200, "hello"},
		"a path of one's own":      {middleware.Healthcheck{Path: "/up"}, "GET", "/up", 200, `{"status":"ok"}`},
		"which replaces the other": {middleware.Healthcheck{Path: "/up"}, "GET", "/health", 200, "hello"},
		"no path":                  {middleware.Healthcheck{Path: "off"}, "GET", "/health", 200, "hello"},
		"a check that passes":      {middleware.Healthcheck{Checks: good}, "GET", "/health", 200, `{"status":"ok","checks":{"good":{"status":"ok"}}}`},
		"checks that fail":         {middleware.Healthcheck{Checks: checks}, "GET", "/health", 503, `{"status":"error","checks":{"bad":{"status":"error","error":"broken"},"good":{"status":"ok"},"panics":{"status":"error","error":"panic: oh"}}}`},
		"a version":                {middleware.Healthcheck{Version: "1.2"}, "GET", "/health", 200, `{"status":"ok","version":"1.2"}`},
		"without details":          {middleware.Healthcheck{Checks: checks, HideDetails: true}, "GET", "/health", 503, `{"status":"error"}`},
		"ready":                    {middleware.Healthcheck{Checks: checks, HideDetails: true, ReadyPath: "/ready"}, "GET", "/ready", 503, `{"status":"error"}`},
		"live":                     {middleware.Healthcheck{Checks: checks, LivePath: "/live"}, "GET", "/live", 200, `{"status":"ok"}`},
		"another method":           {middleware.Healthcheck{}, "POST", "/health", 405, "Method Not Allowed\n"},
		"a mount":                  {middleware.Healthcheck{Checks: checks, Mounts: good}, "GET", "/health?mount=good", 200, `{"status":"ok","checks":{"mount good":{"status":"ok"}}}`},
		"a mount that fails":       {middleware.Healthcheck{Checks: good, Mounts: checks}, "GET", "/health?mount=bad", 503, `{"status":"error","checks":{"mount bad":{"status":"error","error":"broken"}}}`},
		"no such mount":            {middleware.Healthcheck{Mounts: good}, "GET", "/health?mount=%2F", 404, "There is no mount of that name.\n"},
		"draining":                 {middleware.Healthcheck{Checks: good, Draining: yes}, "GET", "/health", 503, `{"status":"error","checks":{"gateway":{"status":"error","error":"it is being drained"},"good":{"status":"ok"}}}`},
		"a mount while draining":   {middleware.Healthcheck{Mounts: good, Draining: yes, HideDetails: true}, "GET", "/health?mount=good", 503, `{"status":"error"}`},
		"draining without checks":  {middleware.Healthcheck{Draining: yes, HideDetails: true}, "GET", "/health", 503, `{"status":"error"}`},
		"live while draining":      {middleware.Healthcheck{Draining: yes, LivePath: "/live"}, "GET", "/live", 200, `{"status":"ok"}`},
	} {
		res := pagitest.New(tc.m.Wrap(hello)).Do(tc.method, tc.target)
		res.Expect(t, tc.status, tc.body)
		if t.Failed() {
			t.Fatal(name)
		}
		if tc.body != "hello" && tc.status != 405 && tc.status != 404 && (res.Header("content-type") != "application/json" || res.Header("cache-control") != "no-store") {
			t.Errorf("%s: %v", name, res.Headers)
		}
	}
	checkFails(t, middleware.Healthcheck{LivePath: "off"}, `live_path: "off" must begin with a slash`)
	checkFails(t, middleware.Healthcheck{Timeout: -1}, `timeout: must not be negative, is -1ns`)
}

func TestAHealthcheckDoesNotWaitForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		m := middleware.Healthcheck{Checks: map[string]func(context.Context) error{
			"stuck":   func(context.Context) error { <-release; return nil },
			"obeying": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		}}
		var body string
		send := func(_ context.Context, ev pagi.Event) error {
			if e, is := ev.(pagi.HTTPResponseBody); is {
				body = string(e.Body)
			}
			return nil
		}
		begun := time.Now()
		err := m.Wrap(hello).Serve(t.Context(), &pagi.Scope{Type: pagi.TypeHTTP, Method: "GET", Path: "/health"}, nil, send)
		if took := time.Since(begun); err != nil || took != 5*time.Second || !strings.Contains(body, `"stuck":{"status":"error","error":"no result within 5s"}`) {
			t.Errorf("after %v: %s, %v", took, body, err)
		}
		close(release)
	})
}
