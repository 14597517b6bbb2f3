// Package upstream starts the reference servers of PAGI, for tests that compare something with them. The servers are
// found by environment variables that name checkouts.
package upstream

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// Environment variables that name checkouts of PAGI: of the tag 0.001006, and a directory with the newest "pagi",
// "PAGI-Tools" and "PAGI-Server".
const (
	Reference = "PAGI_REFERENCE"
	Newest    = "PAGI_NEWEST"
)

// Release is a release of PAGI: its specification, server and tools.
type Release struct {
	// Name is "0.001006" or "newest".
	Name string
	// Spec is the version of the specification that its server speaks.
	Spec string
	// Trees are its checkouts, by the names of their repositories.
	Trees map[string]string

	order  []string // of the directories of modules
	server string   // the program
}

// Releases returns the releases that the environment names, oldest first. It skips the test if there are none.
func Releases(t testing.TB) []*Release {
	t.Helper()
	var all []*Release
	if dir := os.Getenv(Reference); dir != "" {
		all = append(all, &Release{Name: "0.001006", Spec: "0.1", Trees: map[string]string{"pagi": dir}, order: []string{"pagi"}, server: "pagi"})
	}
	if dir := os.Getenv(Newest); dir != "" {
		r := &Release{Name: "newest", Spec: "0.3", Trees: map[string]string{}, order: []string{"pagi", "PAGI-Tools", "PAGI-Server"}, server: "PAGI-Server"}
		for _, tree := range r.order {
			r.Trees[tree] = filepath.Join(dir, tree)
		}
		all = append(all, r)
	}
	if all == nil {
		t.Skipf("%s and %s do not name checkouts of PAGI", Reference, Newest)
	}
	return all
}

// Find returns the release of a revision, "0.001006" or "HEAD". It skips the test if the environment does not name it.
func Find(t testing.TB, revision string) *Release {
	t.Helper()
	name := revision
	if name == "HEAD" {
		name = "newest"
	}
	for _, r := range Releases(t) {
		if r.Name == name {
			return r
		}
	}
	t.Skipf("no variable names a checkout of PAGI %s", revision)
	return nil
}

// Roots returns the release's checkouts.
func (r *Release) Roots() []string {
	var dirs []string
	for _, tree := range r.order {
		dirs = append(dirs, r.Trees[tree])
	}
	return dirs
}

// Lib returns the release's directories of modules, and before them the directory "lib" beside an application, if
// there is one.
func (r *Release) Lib(app string) []string {
	var dirs []string
	own := filepath.Join(filepath.Dir(app), "lib")
	if info, err := os.Stat(own); err == nil && info.IsDir() {
		dirs = append(dirs, own)
	}
	for _, root := range r.Roots() {
		dirs = append(dirs, filepath.Join(root, "lib"))
	}
	return dirs
}

// Needs skips the test where perl lacks a module that an application uses.
func (r *Release) Needs(t testing.TB, app string) {
	t.Helper()
	perl := testkit.Tool(t, "perl", "perl")
	output, err := testkit.Command(filepath.Dir(app), perl, append(r.include(app), "-c", app)...).CombinedOutput()
	if err != nil && strings.Contains(string(output), missing) {
		t.Skipf("a module of Perl is missing:\n%s", output)
	}
}

// missing is what perl says of a module that is not installed.
const missing = "you may need to install"

func (r *Release) include(app string) []string {
	var args []string
	for _, dir := range r.Lib(app) {
		args = append(args, "-I"+dir)
	}
	return args
}

// Server is a running reference server.
type Server struct {
	URL string
	// Log is what it writes.
	Log *testkit.Log
	// Ended is closed when its process has ended.
	Ended chan struct{}

	process *os.Process
}

var listening = regexp.MustCompile(`listening on (http://127\.0\.0\.1:\d+)`)

// Start starts the server of the release with an application, in a process that Stop or the end of the test kills. Env
// is added to its environment, "NAME=value". Where perl lacks a module the test is skipped.
func (r *Release) Start(t testing.TB, app string, env ...string) *Server {
	t.Helper()
	perl := testkit.Tool(t, "perl", "perl")
	app, err := filepath.Abs(app)
	if err != nil {
		t.Fatal(err)
	}
	args := append(r.include(app), filepath.Join(r.Trees[r.server], "bin/pagi-server"), "--app", app, "--port", "0", "--no-access-log")
	s := &Server{Log: new(testkit.Log), Ended: make(chan struct{})}
	cmd := testkit.Command(t.TempDir(), perl, args...)
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdout, cmd.Stderr = s.Log, s.Log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.process = cmd.Process
	go func() {
		_ = cmd.Wait() // how it ends does not matter
		close(s.Ended)
	}()
	t.Cleanup(func() {
		s.Stop()
		if t.Failed() {
			t.Logf("PAGI %s wrote:\n%s", r.Name, s.Log)
		}
	})
	testkit.Eventually(t, "the program in Perl", func() bool {
		if s.HasEnded() {
			if strings.Contains(s.Log.String(), missing) {
				t.Skipf("a module of Perl is missing:\n%s", s.Log)
			}
			t.Fatalf("it has ended:\n%s", s.Log)
		}
		if m := listening.FindStringSubmatch(s.Log.String()); m != nil {
			s.URL = m[1]
		}
		return s.URL != ""
	})
	return s
}

// HasEnded reports whether its process has ended.
func (s *Server) HasEnded() bool {
	select {
	case <-s.Ended:
		return true
	default:
		return false
	}
}

// Stop kills the server and what it has started, and waits for its end.
func (s *Server) Stop() {
	_ = syscall.Kill(-s.process.Pid, syscall.SIGKILL) // an error says that it has ended
	<-s.Ended
}
