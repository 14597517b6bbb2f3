package examples

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/perlpagi"
	"github.com/pagi-go/pagi-bridge/internal/dialog"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/internal/testkit/upstream"
	"github.com/pagi-go/pagi-bridge/server"
)

// The program in Perl that an example corresponds to gives the same answers in its own server. So the dialogs that
// the examples in Go are tested with are those of PAGI.
func TestUpstream(t *testing.T) {
	holdUpstream(t, func(t *testing.T, r *upstream.Release, app string) string { return r.Start(t, app).URL })
}

// The same program, unchanged, gives the same answers under pagi-bridge.
func TestUpstreamUnderPagiBridge(t *testing.T) {
	holdUpstream(t, func(t *testing.T, r *upstream.Release, app string) string {
		r.Needs(t, app)
		log := new(testkit.Log)
		o := perlpagi.PAGI{App: app, Lib: r.Lib(app), Dir: t.TempDir(), Logger: log.Logger()}
		o.Workers = 1 // some keep what all clients share in their process
		built, err := o.Build()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("log:\n%s", log)
			}
		})
		s := &server.Server{App: built, Logger: log.Logger()}
		return run(t, s, s.Run)
	})
}

// holdUpstream holds the dialogs of each example with the program in Perl that it corresponds to. Start starts the
// program and returns its URL.
func holdUpstream(t *testing.T, start func(t *testing.T, r *upstream.Release, app string) string) {
	upstream.Releases(t)
	files, err := filepath.Glob("*/requests.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files {
		t.Run(filepath.Dir(path), func(t *testing.T) {
			t.Parallel()
			file, err := dialog.Load(path)
			if err != nil {
				t.Fatal(err)
			}
			release, app := program(t, file.Upstream)
			url := start(t, release, app)
			for _, d := range file.Dialogs {
				t.Run(d.Name, func(t *testing.T) {
					if d.Differs != "" {
						t.Skipf("it differs: %s", d.Differs)
					}
					d.Hold(t, url)
				})
			}
		})
	}
}

// program returns the release and the path of a program in Perl, given as "REPOSITORY REVISION PATH".
func program(t *testing.T, name string) (*upstream.Release, string) {
	t.Helper()
	parts := strings.Fields(name)
	if len(parts) != 3 {
		t.Fatalf("%q is not REPOSITORY REVISION PATH", name)
	}
	if filepath.Base(parts[2]) != "app.pl" {
		t.Skip("it listens at a port of its own choice")
	}
	release := upstream.Find(t, parts[1])
	return release, filepath.Join(release.Trees[parts[0]], parts[2])
}
