package site_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/site"
)

// loaded returns the site of a text, built.
func loaded(t *testing.T, text string) (*site.Site, *pagitest.Client) {
	t.Helper()
	dir := testkit.Tree(t, map[string]string{"site.yaml": text, "f.txt": "file", "sub/f.txt": "below"})
	s, err := site.Load(filepath.Join(dir, "site.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	app, err := s.Build()
	if err != nil {
		t.Fatal(err)
	}
	return s, pagitest.Start(t, app)
}

func TestDrainedMounts(t *testing.T) {
	s, client := loaded(t, "middleware:\n  - healthcheck: {live_path: /live}\nmounts:\n  - {path: /, file: .}\n  - {path: /sub, file: sub}\n")
	get := func(path string, want int) {
		t.Helper()
		if res := client.Get(path); res.Status != want {
			t.Errorf("%s: %d %s, want %d", path, res.Status, res.Text(), want)
		}
	}
	if changed, err := s.DrainMount("/sub", true); !changed || err != nil {
		t.Error(changed, err)
	}
	if changed, err := s.DrainMount("/sub", true); changed || err != nil {
		t.Error("a second time", changed, err)
	}
	if res := client.Get("/sub/f.txt"); res.Status != 503 || res.Header("retry-after") != "10" {
		t.Errorf("%d %v", res.Status, res.Headers)
	}
	if res := client.Events("/sub/f.txt").Finish(); res.Status != 503 {
		t.Errorf("an event stream: %d", res.Status)
	}
	get("/f.txt", 200)
	get("/health", 200)
	get("/health?mount=/sub", 503)
	get("/health?mount=/", 200)
	s.Drain(true)
	get("/f.txt", 200)
	get("/health", 503)
	get("/live", 200)
	get("/health?mount=/", 503)
	s.Drain(false)
	get("/health", 200)
	if changed, err := s.DrainMount("/sub", false); !changed || err != nil {
		t.Error(changed, err)
	}
	get("/sub/f.txt", 200)
	if _, err := s.DrainMount("/none", true); err == nil || err.Error() != "there is no mount /none that can be drained; there are: /, /sub" {
		t.Error(err)
	}
}

func TestHealthOfAnApplication(t *testing.T) {
	s, client := loaded(t, `middleware:
  - healthcheck: {}
mounts:
  - {path: /, file: .}
  - path: /good
    file: .
    health: /f.txt
    middleware:
      - basic_auth: {users: {u: "{PLAIN}p"}}
  - {path: /bad, file: ., health: {path: /missing.txt, interval: 1h, timeout: 1s}}
`)
	_ = s
	if res := client.Get("/good/f.txt"); res.Status != 401 {
		t.Errorf("the mount itself: %d", res.Status)
	}
	for path, want := range map[string]struct {
		status int
		text   string
	}{
		"/health?mount=/good": {200, `{"status":"ok","checks":{"mount /good":{"status":"ok"}}}`},
		"/health?mount=/bad":  {503, `{"status":"error","checks":{"mount /bad":{"status":"error","error":"its health check got status 404"}}}`},
		"/health?mount=/":     {200, `{"status":"ok","checks":{"mount /":{"status":"ok"}}}`},
	} {
		if res := client.Get(path); res.Status != want.status || res.Text() != want.text {
			t.Errorf("%s: %d %s", path, res.Status, res.Text())
		}
	}
	res := client.Get("/health")
	if res.Status != 503 || !strings.Contains(res.Text(), `"mount /good":{"status":"ok"}`) || strings.Contains(res.Text(), `"mount /":`) {
		t.Errorf("all: %d %s", res.Status, res.Text())
	}
}

func TestWrongHealth(t *testing.T) {
	for health, want := range map[string]string{
		"ping":                        `health.path: "ping" must begin with a slash`,
		"{interval: 3s}":              "health.path: is missing",
		"{path: /x, timeout: -1s}":    "must not be negative",
		"{path: /x, interval: often}": "often",
	} {
		dir := testkit.Tree(t, map[string]string{"site.yaml": "mounts:\n  - {path: /, file: ., health: " + health + "}\n"})
		s, err := site.Load(filepath.Join(dir, "site.yaml"))
		if err == nil {
			_, err = s.Build()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", health, err, want)
		}
	}
}

// A status page that any client can see is worth a warning.
func TestExposedStatusPages(t *testing.T) {
	const warning = "any client can see the status page at /status: give it a middleware such as basic_auth or access"
	page := "  - {path: /status, status_page: all}\n"
	for name, c := range map[string]struct{ site, want string }{
		"at all addresses":            {"listen: \":0\"\nmounts:\n" + page, "site.yaml:3:34: " + warning},
		"at one of several addresses": {"listen: [\"127.0.0.1:0\", \"10.0.0.1:80\"]\nmounts:\n" + page, "site.yaml:3:34: " + warning},
		"by systemd":                  {"listen: systemd\nmounts:\n" + page, "site.yaml:3:34: " + warning},
		"behind another middleware":   {"listen: \":0\"\nmiddleware:\n  - gzip: {}\nmounts:\n" + page, "site.yaml:5:34: " + warning},
		"in a cascade":                {"listen: \":0\"\nmounts:\n  - path: /status\n    cascade:\n      - status_page: all\n", "site.yaml:5:22: " + strings.Replace(warning, "/status:", "/status#1:", 1)},
		"at loopback":                 {"listen: [\"127.0.0.1:0\", \"[::1]:0\", \"localhost:0\", ./sock]\nmounts:\n" + page, ""},
		"without listen":              {"mounts:\n" + page, ""},
		"behind access":               {"listen: \":0\"\nmiddleware:\n  - access: {allow: 10.0.0.0/8}\nmounts:\n" + page, ""},
		"behind a password":           {"listen: \":0\"\nmounts:\n  - path: /status\n    status_page: mounts\n    middleware:\n      - basic_auth: {users: {u: \"{PLAIN}p\"}}\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := testkit.Tree(t, map[string]string{"site.yaml": c.site})
			s, err := site.Load(filepath.Join(dir, "site.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if len(s.Warnings) > 0 {
				got = strings.ReplaceAll(s.Warnings.Error(), dir+"/", "")
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
