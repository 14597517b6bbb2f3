//go:build amd64 || arm64 || riscv64

package cgi

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/cgi/perlfork"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// stopWithin stops an application that must not take longer.
func (d *directoryInMode) stopWithin(t *testing.T, patience time.Duration) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := d.app.shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("it does not stop")
	}
}

func TestACompilationThatNeverEndsIsEnded(t *testing.T) {
	const seconds = 20 * time.Second
	for name, script := range map[string]string{
		"that computes":     `BEGIN { 1 while 1 }`,
		"that waits":        `BEGIN { sleep 1000 }`,
		"that ignores TERM": `BEGIN { $SIG{TERM} = 'IGNORE'; sleep 1 while 1 }`,
	} {
		t.Run(name, func(t *testing.T) {
			d := serveTree(t, ModeFork, CGI{RequestTimeout: 200 * time.Millisecond, KillAfter: 50 * time.Millisecond}, map[string]string{"a.cgi": script})
			if res := do(t, d.app, ask{target: "/a.cgi"}); res.statusError() != 504 {
				t.Errorf("status %d, %v", res.status, res.err)
			}
			d.stopWithin(t, seconds)
			testkit.Eventually(t, "its processes to be gone", func() bool { return children(t) == "" })
		})
	}
}

func TestStoppingDoesNotWaitForACompilation(t *testing.T) {
	d := serveTree(t, ModeFork, CGI{RequestTimeout: time.Hour, KillAfter: 50 * time.Millisecond}, map[string]string{"a.cgi": `BEGIN { sleep 1000 }`})
	ctx, leave := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		r := ask{target: "/a.cgi"}
		scope := r.scope()
		_ = d.app.Serve(ctx, scope, r.receive(), (&result{}).take(scope.Type)) // the client leaves, which is an error
	}()
	testkit.Eventually(t, "the script to be compiled", func() bool { return d.compiled("a.cgi").State == perlfork.Compiling })
	leave()
	<-done
	d.stopWithin(t, 20*time.Second)
}

func TestADaemonOfACompilationIsEnded(t *testing.T) {
	d := serveTree(t, ModeFork, CGI{KillAfter: 50 * time.Millisecond}, map[string]string{
		"a.cgi": `BEGIN { if (!fork) { open STDOUT, '>', '/dev/null'; open STDERR, '>', '/dev/null'; sleep 1000 } }`,
	})
	do(t, d.app, ask{target: "/a.cgi"})
	if why := d.settle(t, "a.cgi"); !strings.Contains(why, "starts processes") {
		t.Errorf("it is run by exec because of %q", why)
	}
	testkit.Eventually(t, "the daemon to be gone", func() bool { return children(t) == "" })
	d.stopWithin(t, 20*time.Second)
}

func TestACompilationMayWriteMuch(t *testing.T) {
	d := serveTree(t, ModeFork, CGI{RequestTimeout: 20 * time.Second, StderrRate: 1}, map[string]string{"a.cgi": `BEGIN { warn "x" x 100 for 1 .. 2000 } print 1;`})
	if got := d.body(t, "/a.cgi"); got != "1" {
		t.Errorf("got %q", got)
	}
	if why := d.settle(t, "a.cgi"); !strings.Contains(why, "much") {
		t.Errorf("it is run by exec because of %q", why)
	}
}

func TestRequestsAtOnceAllGetAProcess(t *testing.T) {
	for _, mode := range []string{ModeFork, ModePersistent} {
		t.Run(mode, func(t *testing.T) {
			d := serveTree(t, mode, CGI{}, map[string]string{"a.cgi": `print 1;`})
			d.body(t, "/a.cgi")
			for range 10 {
				var all sync.WaitGroup
				for range 9 {
					all.Go(func() {
						if res := do(t, d.app, ask{target: "/a.cgi"}); res.body != "1" {
							t.Errorf("status %d, %v", res.status, res.err)
						}
					})
				}
				all.Wait()
			}
		})
	}
}

func TestProcessorTimeIsEachRunsOwn(t *testing.T) {
	d := serveTree(t, ModeFork, CGI{CPUTime: time.Second, KillAfter: 50 * time.Millisecond}, map[string]string{
		"a.cgi": `if (($ENV{QUERY_STRING} || '') eq 'burn') { 1 while 1 } print 1;`,
	})
	for range 2 {
		d.body(t, "/a.cgi")
		if res := do(t, d.app, ask{target: "/a.cgi?burn"}); res.statusError() != 504 {
			t.Errorf("status %d, %v", res.status, res.err)
		}
	}
	if why := d.settle(t, "a.cgi"); why != "" {
		t.Errorf("it is run by exec: %s", why)
	}
}

func TestProcessesRunAsTheUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root may run scripts as somebody else")
	}
	for _, mode := range []string{ModeFork, ModePersistent} {
		t.Run(mode, func(t *testing.T) {
			d := serveTree(t, mode, CGI{User: "nobody"}, map[string]string{
				"a.cgi":       `print "$< $>";`,
				"unread.cgi":  `print 1;`,
				"private.cgi": `print 1;`,
			})
			open(t, d.app.Root)
			for name, permission := range map[string]fs.FileMode{"unread.cgi": 0o711, "private.cgi": 0o744} {
				if err := os.Chmod(filepath.Join(d.app.Root, name), permission); err != nil {
					t.Fatal(err)
				}
			}
			uid := d.app.profile.User().Uid
			if got, want := d.body(t, "/a.cgi"), fmt.Sprintf("%d %d", uid, uid); got != want {
				t.Errorf("it runs as %s, want %s", got, want)
			}
			if why := d.settle(t, "a.cgi"); why != "" {
				t.Errorf("it is run by exec: %s", why)
			}
			for _, name := range []string{"unread.cgi", "private.cgi"} {
				for range 2 {
					if res := do(t, d.app, ask{target: "/" + name}); res.err == nil && res.status == 200 {
						t.Errorf("%s: it may not run, but does", name)
					}
				}
				if why := d.settle(t, name); why == "" {
					t.Errorf("%s: it was compiled", name)
				}
			}
			err := filepath.WalkDir(d.app.perl.Dir(), func(path string, entry fs.DirEntry, err error) error {
				if err != nil {
					return err
				}
				info, err := entry.Info()
				if err != nil {
					return err
				}
				owner := info.Sys().(*syscall.Stat_t).Uid
				if owner == uid || info.Mode()&0o022 != 0 {
					t.Errorf("%s belongs to %d, mode %v", path, owner, info.Mode())
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// open lets everybody into a temporary directory.
func open(t *testing.T, dir string) {
	t.Helper()
	for ; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func TestModeAutoServesWithoutAPlaceForThePerlSide(t *testing.T) {
	for mode, works := range map[string]bool{ModeAuto: true, ModeFork: false} {
		root := testkit.Tree(t, map[string]string{"a.cgi": textHeader + "print 1;\n"})
		a := build(t, CGI{Root: root, Options: perlfork.Options{Mode: mode}}).(*app)
		t.Setenv("TMPDIR", "/nowhere")
		err := a.startup(t.Context())
		if (err == nil) != works {
			t.Errorf("%s: %v", mode, err)
		}
		if res := do(t, a, ask{target: "/a.cgi"}); res.body != "1" {
			t.Errorf("%s: status %d, %v", mode, res.status, res.err)
		}
		if err := a.shutdown(t.Context()); err != nil {
			t.Error(err)
		}
		os.Unsetenv("TMPDIR")
	}
}

func TestItCanBeStartedAgain(t *testing.T) {
	d := serveTree(t, ModeFork, CGI{}, map[string]string{"a.cgi": `print 1;`})
	for range 2 {
		d.body(t, "/a.cgi")
		if state := d.compiled("a.cgi").State; state != perlfork.Compiled {
			t.Errorf("state %v", state)
		}
		d.stopWithin(t, 20*time.Second)
		d.body(t, "/a.cgi") // by exec
		if err := d.app.startup(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
