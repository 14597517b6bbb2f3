//go:build unix

package cgi

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// occupy starts a script that waits for release to be called, n times.
func occupy(t *testing.T, serve func(target string) *live, script string, n int) (release func()) {
	t.Helper()
	dir := t.TempDir()
	var running []*live
	for range n {
		l := serve(script + "?" + dir)
		l.feed("", false)
		running = append(running, l)
	}
	testkit.Eventually(t, "the scripts to run", func() bool {
		entries, err := os.ReadDir(dir)
		return err == nil && len(entries) == n
	})
	return func() {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, l := range running {
			if err := l.end(); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestPlacesAreOfAScriptADirectoryAndTheMount(t *testing.T) {
	wait, err := os.ReadFile(scripts + "/wait.cgi")
	if err != nil {
		t.Fatal(err)
	}
	root := testkit.Tree(t, map[string]string{
		"wait.cgi": string(wait), "other.cgi": say("other"), "sub/wait.cgi": string(wait), "sub/other.cgi": say("sub"), "sub/in/other.cgi": say("in"),
	})
	for name, c := range map[string]struct {
		options  CGI
		script   string
		n        int
		refused  []string
		answered []string
		reason   string
	}{
		"of a script": {CGI{ScriptConcurrency: 1}, "/wait.cgi", 1, []string{"/wait.cgi"}, []string{"/other.cgi", "/sub/other.cgi"}, "script_concurrency"},
		"of a directory": {CGI{Directories: []Directory{{Path: "/sub", CGI: CGI{Concurrency: 2}}}}, "/sub/wait.cgi", 2,
			[]string{"/sub/other.cgi", "/sub/in/other.cgi"}, []string{"/other.cgi"}, "concurrency of /sub"},
		"of a directory inside": {CGI{Directories: []Directory{{Path: "/sub", CGI: CGI{Concurrency: 2}}, {Path: "/sub/in", CGI: CGI{Concurrency: 5}}}}, "/sub/wait.cgi", 2,
			[]string{"/sub/in/other.cgi"}, []string{"/other.cgi"}, "concurrency of /sub"},
		"of the mount": {CGI{Concurrency: 2, Directories: []Directory{{Path: "/sub", CGI: CGI{Concurrency: 2}}}}, "/wait.cgi", 2,
			[]string{"/sub/other.cgi", "/other.cgi"}, nil, "option concurrency)"},
	} {
		t.Run(name, func(t *testing.T) {
			c.options.Root, c.options.QueueTimeout = root, 50*time.Millisecond
			application := build(t, c.options)
			release := occupy(t, func(target string) *live { return begin(t, application, ask{target: target}) }, c.script, c.n)
			for _, target := range c.refused {
				res := do(t, application, ask{target: target + "?" + t.TempDir()})
				if res.statusError() != 503 || !strings.Contains(res.err.Error(), c.reason) {
					t.Errorf("%s: %v, want a 503 with %q", target, res.err, c.reason)
				}
			}
			for _, target := range c.answered {
				if res := do(t, application, ask{target: target}); res.status != 200 {
					t.Errorf("%s: %+v", target, res)
				}
			}
			release()
			for _, target := range append(c.refused, c.answered...) {
				if strings.HasSuffix(target, "other.cgi") {
					if res := do(t, application, ask{target: target}); res.status != 200 {
						t.Errorf("%s afterwards: %+v", target, res)
					}
				}
			}
			if left := application.(*app).scripts.all; len(left) > 0 {
				t.Errorf("limiters are left: %v", left)
			}
		})
	}
}

func TestTheQueueIsBounded(t *testing.T) {
	application := build(t, CGI{Concurrency: 1, QueueSize: 2})
	release := occupy(t, func(target string) *live { return begin(t, application, ask{target: target}) }, "/wait.cgi", 1)
	var waiting []*live
	for range 2 {
		l := begin(t, application, ask{target: "/hello.cgi"})
		l.feed("", false)
		waiting = append(waiting, l)
	}
	places := application.(*app).places
	testkit.Eventually(t, "two requests to wait", func() bool { return places.waiting.Load() == 2 })
	res := do(t, application, ask{target: "/hello.cgi"})
	if res.statusError() != 503 || !strings.Contains(res.err.Error(), "option queue_size") {
		t.Errorf("a third: %v", res.err)
	}
	release()
	var ended sync.WaitGroup
	for _, l := range waiting { // who is first is open
		ended.Go(func() {
			if err := l.end(); err != nil {
				t.Error(err)
			}
		})
	}
	ended.Wait()
	if n := places.waiting.Load(); n != 0 {
		t.Errorf("%d are counted as waiting", n)
	}
}
