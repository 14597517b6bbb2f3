package site_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/psgi"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/server"
	"github.com/pagi-go/pagi-bridge/site"
)

// reloading is an application that can be reloaded, or returns an error.
type reloading struct {
	greeter
	times int
	err   error
}

func (r *reloading) Reload(context.Context) error {
	r.times++
	return r.err
}

func TestReload(t *testing.T) {
	a := &reloading{greeter: greeter{Greeting: "a"}, err: errors.New("no such table")}
	b := &reloading{greeter: greeter{Greeting: "b"}}
	c := &reloading{greeter: greeter{Greeting: "c"}, err: errors.New("syntax error")}
	s := &site.Site{Mounts: []*site.Mount{
		{Path: "/", Kind: site.KindGo, Options: a},
		{Path: "/b", Kind: site.KindGo, Options: b},
		{Path: "/c", Hosts: []string{"example.org"}, Kind: site.KindGo, Options: c},
		site.NewMount(site.KindNotFound, "gone"),
	}}
	s.Mounts[3].Path = "/gone"
	if err := s.Reload(t.Context()); err == nil {
		t.Error("a site that was not built can be reloaded")
	}
	if _, err := s.Build(); err != nil {
		t.Fatal(err)
	}
	want := "/: no such table\nexample.org/c: syntax error"
	if err := s.Reload(t.Context()); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	if a.times != 1 || b.times != 1 || c.times != 1 {
		t.Errorf("reloaded %d, %d and %d times", a.times, b.times, c.times)
	}
	a.err, c.err = nil, nil
	if err := s.Reload(t.Context()); err != nil {
		t.Error(err)
	}
}

// A mount's own options about workers replace those of the site altogether. They are decoded with
// the types of their fields.
func TestWorkersOfMounts(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	dir := testkit.Tree(t, map[string]string{"local/lib/perl5/": "", "site.yaml": `
min_workers: 2
max_workers: 6
max_age: 2h
max_rss: 300_000_000
mounts:
  - {path: /a, psgi: {code: "sub {}"}, local_lib: local}
  - {path: /b, psgi: {code: "sub {}"}, workers: 3, max_rss: 1_000_000, max_age: 1m}
  - {path: /c, psgi: {code: "sub {}"}, min_workers: 1, max_workers: 2, idle_timeout: 5, max_requests_jitter: 0.25, umask: "0027", retry: off, answer_memory: 1000, answer_spool: -1, answer_spool_total: 5000}
`})
	s, err := site.Load(filepath.Join(dir, "site.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Build(); err != nil {
		t.Fatal(err)
	}
	a, b, c := s.Mounts[0].Options.(*psgi.PSGI), s.Mounts[1].Options.(*psgi.PSGI), s.Mounts[2].Options.(*psgi.PSGI)
	if a.Workers != 0 || a.MinWorkers != 2 || a.MaxWorkers != 6 || a.MaxAge != 2*time.Hour || a.MaxRSS != 300_000_000 || len(a.LocalLib) != 1 || a.LocalLib[0] != filepath.Join(dir, "local") {
		t.Errorf("%+v", a)
	}
	if b.Workers != 3 || b.MinWorkers != 0 || b.MaxWorkers != 0 || b.MaxAge != time.Minute || b.MaxRSS != 1_000_000 {
		t.Errorf("%+v", b)
	}
	if c.Workers != 0 || c.MinWorkers != 1 || c.MaxWorkers != 2 || c.IdleTimeout != 5*time.Second || c.MaxRequestsJitter != 0.25 || c.Umask != "0027" || c.AnswerMemory != 1000 || c.AnswerSpool != -1 || c.Retry != "off" {
		t.Errorf("%+v", c)
	}
	if m := s.Mounts[0]; m.Workers != 2 || m.MaxWorkers != 6 {
		t.Errorf("for the banner: %d to %d", m.Workers, m.MaxWorkers)
	}
}

func TestNeedRestart(t *testing.T) {
	old := site.Settings{Listen: []string{":80"}, Timeouts: server.Timeouts{Timeout: time.Second}, Logs: site.Logs{LogLevel: "info"}}
	for want, change := range map[string]func(*site.Settings){
		"":                     func(s *site.Settings) { s.Timeout, s.LogLevel, s.AccessLog = time.Minute, "debug", "off" },
		"listen":               func(s *site.Settings) { s.Listen = []string{":80", ":81"} },
		"tls":                  func(s *site.Settings) { s.TLS.Cert = "c" },
		"user, umask":          func(s *site.Settings) { s.User, s.Umask = "nobody", "0027" },
		"http3, h2c":           func(s *site.Settings) { s.HTTP3, s.H2C = true, true },
		"log_file, log_format": func(s *site.Settings) { s.LogFile, s.LogFormat = "log", "json" },
	} {
		next := old
		change(&next)
		if got := strings.Join(old.NeedRestart(&next), ", "); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestSameFile(t *testing.T) {
	load := func(text string) *site.Site {
		t.Helper()
		dir := testkit.Tree(t, map[string]string{"site.yaml": text})
		t.Chdir(dir)
		s, err := site.Load("site.yaml")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	one, same, other := load("mounts: [{file: .}]\n"), load("mounts: [{file: .}]\n"), load("mounts: [{file: .}] # new\n")
	if !one.SameFile(same) || one.SameFile(other) {
		t.Error("files are not told by their text")
	}
}
