package watch

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

type watched struct {
	t       *testing.T
	dir     string
	files   *Files
	changes chan []string
}

// watching watches lib below a new directory, and app.psgi in it.
func watching(t *testing.T) *watched {
	t.Helper()
	dir := testkit.Tree(t, map[string]string{
		"app.psgi": "1", "lib/A.pm": "1", "lib/Deep/er/B.pm": "1", "lib/notes.txt": "1", "lib/.git/C.pm": "1", "other/D.pm": "1", "templates/deep/page.tt": "1", "current": "-> one", "one/E.pm": "1", "two/E.pm": "22",
	})
	w := &watched{t: t, dir: dir, changes: make(chan []string, 10)}
	w.files = New([]string{w.path("lib")}, []string{".pm", ".pl"}, []string{w.path("app.psgi"), w.path("late/F.pm"), w.path("current/E.pm")})
	w.files.AddTree(w.path("templates"))
	<-w.files.added
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() {
		ended <- w.files.Watch(ctx, func(files []string) { w.changes <- files }, func(err error) { t.Error(err) })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	w.files.Add([]string{w.path("app.psgi")}) // its being taken in shows that Watch has begun
	testkit.Eventually(t, "it to begin", func() bool { return len(w.files.added) == 0 })
	return w
}

func (w *watched) path(name string) string { return filepath.Join(w.dir, name) }

func (w *watched) write(name, content string) {
	w.t.Helper()
	if err := os.MkdirAll(filepath.Dir(w.path(name)), 0o755); err != nil {
		w.t.Fatal(err)
	}
	if err := os.WriteFile(w.path(name), []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *watched) rename(from, to string) {
	w.t.Helper()
	if err := os.Rename(w.path(from), w.path(to)); err != nil {
		w.t.Fatal(err)
	}
}

// expect waits for one call with these files.
func (w *watched) expect(names ...string) {
	w.t.Helper()
	var got []string
	for _, file := range testkit.Await(w.t, w.changes) {
		got = append(got, strings.TrimPrefix(file, w.dir+"/"))
	}
	if strings.Join(got, " ") != strings.Join(names, " ") {
		w.t.Errorf("changed: %q, want %q", got, names)
	}
}

// silence waits longer than a change takes to be reported.
func (w *watched) silence() {
	w.t.Helper()
	select {
	case files := <-w.changes:
		w.t.Errorf("changed: %q, want nothing", files)
	case <-time.After(3 * quietTime):
	}
}

func TestChanges(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(w *watched)
		want []string // nil: nothing
	}{
		"a file by its name":         {func(w *watched) { w.write("app.psgi", "2") }, []string{"app.psgi"}},
		"a file below a tree":        {func(w *watched) { w.write("lib/Deep/er/B.pm", "22") }, []string{"lib/Deep/er/B.pm"}},
		"a new file below a tree":    {func(w *watched) { w.write("lib/New.pm", "") }, []string{"lib/New.pm"}},
		"a file in a new directory":  {func(w *watched) { w.write("lib/x/y/New.pm", "") }, []string{"lib/x/y/New.pm"}},
		"a file that was waited for": {func(w *watched) { w.write("late/F.pm", "1"); w.silence(); w.write("late/F.pm", "22") }, []string{"late/F.pm"}},
		"another file in its place":  {func(w *watched) { w.write("app.psgi~", "2"); w.rename("app.psgi~", "app.psgi") }, []string{"app.psgi"}},
		"any file of a whole tree":   {func(w *watched) { w.write("templates/deep/page.tt", "22") }, []string{"templates/deep/page.tt"}},
		"a new one there":            {func(w *watched) { w.write("templates/new/x.css", "1") }, []string{"templates/new/x.css"}},
		"what an editor keeps there": {func(w *watched) { w.write("templates/.page.swp", "1"); w.write("templates/page.tt~", "1") }, nil},
		"several are told at once":   {func(w *watched) { w.write("lib/A.pm", "2"); w.write("app.psgi", "2"); w.write("lib/A.pm", "33") }, []string{"app.psgi", "lib/A.pm"}},
		"what was added": {func(w *watched) {
			w.files.Add([]string{w.path("other/D.pm")})
			w.silence()
			w.write("other/D.pm", "22")
		}, []string{"other/D.pm"}},
		"a link that leads elsewhere": {func(w *watched) {
			_ = os.Remove(w.path("current"))
			_ = os.Symlink("two", w.path("current"))
			w.write("app.psgi", "22")
		}, []string{"app.psgi", "current/E.pm"}},
		"a file behind a link": {func(w *watched) { w.write("one/E.pm", "22") }, []string{"current/E.pm", "one/E.pm"}},
		"other files": {func(w *watched) {
			w.write("lib/notes.txt", "2")
			w.write("other/D.pm", "2")
			w.write("access.log", "x")
		}, nil},
		"hidden directories":           {func(w *watched) { w.write("lib/.git/C.pm", "2"); w.write("lib/.#A.pm", "2") }, nil},
		"a file that goes":             {func(w *watched) { _ = os.Remove(w.path("lib/A.pm")) }, nil},
		"a mode":                       {func(w *watched) { _ = os.Chmod(w.path("app.psgi"), 0o644) }, nil},
		"a directory that is put back": {func(w *watched) { w.rename("lib", "away"); w.silence(); w.rename("away", "lib") }, nil},
		"a directory that comes back":  {func(w *watched) { w.rename("lib", "away"); w.silence(); w.write("lib/A.pm", "33") }, []string{"lib/A.pm"}},
		"a touched file": {func(w *watched) {
			now := time.Now().Add(time.Second)
			if err := os.Chtimes(w.path("app.psgi"), now, now); err != nil {
				w.t.Error(err)
			}
		}, []string{"app.psgi"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := watching(t)
			c.do(w)
			if c.want == nil {
				w.silence()
			} else {
				w.expect(c.want...)
			}
		})
	}
}

// After a directory has come back, changes in it are seen as before.
func TestDirectoryThatComesBack(t *testing.T) {
	w := watching(t)
	w.rename("lib", "away")
	w.silence()
	w.write("lib/A.pm", "33")
	w.expect("lib/A.pm")
	w.write("lib/A.pm", "4444")
	w.expect("lib/A.pm")
	if err := os.RemoveAll(w.path("lib")); err != nil {
		t.Fatal(err)
	}
	w.write("lib/A.pm", "at once")
	w.expect("lib/A.pm")
	w.write("lib/Deep/B.pm", "again")
	w.expect("lib/Deep/B.pm")
}

// Changes that keep coming are reported once they pause.
func TestQuietTime(t *testing.T) {
	w := watching(t)
	for n := range 10 {
		w.write("app.psgi", strings.Repeat("x", n+2))
		time.Sleep(quietTime / 5)
	}
	w.expect("app.psgi")
	w.silence()
}
