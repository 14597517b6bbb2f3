package command_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// nobodys makes a directory that belongs to the user nobody, who can also start the program.
func nobodys(t *testing.T, files map[string]string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can become another user")
	}
	dir := testkit.Tree(t, files)
	for _, d := range []string{dir, filepath.Dir(program)} {
		for ; len(d) > len(os.TempDir()); d = filepath.Dir(d) {
			if err := os.Chmod(d, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := os.Chown(dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Files that root has opened are opened again by the user.
func TestRestartAsAnotherUser(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	dir := nobodys(t, map[string]string{
		"app.psgi": "sub { [200, [], [join ' ', $<, map { $_ // '' } @ENV{qw(HOME USER LOGNAME)}]] };\n",
		"site.yaml": "listen: 127.0.0.1:0\nuser: nobody\npid_file: pid\nlog_file: log\naccess_log: access\naccess_log_backups: 2\n" +
			"workers: 1\nmounts: [{path: /, psgi: app.psgi}]\n",
	})
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		return string(text)
	}
	const who = "65534 /nonexistent nobody nobody"
	g := start(t, dir, "-c", "site.yaml")
	if _, body := g.get("/"); body != who {
		t.Errorf("at first: %q", body)
	}
	testkit.Eventually(t, "a line in the access log", func() bool { return strings.Count(read("access"), "\n") == 1 })
	if err := os.Rename(filepath.Join(dir, "log"), filepath.Join(dir, "log.1")); err != nil {
		t.Fatal(err)
	}
	if err := g.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "a new log", func() bool { return strings.Contains(read("log"), "opened anew") })
	if err := g.Process.Signal(syscall.SIGUSR1); err != nil { // the same files once more
		t.Fatal(err)
	}
	testkit.Eventually(t, "the log again", func() bool { return strings.Count(read("log"), "opened anew") == 2 })

	if err := g.Process.Signal(syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the restart", func() bool {
		return strings.Contains(read("log"), "restart: the new process serves") || strings.Contains(read("log"), "failed")
	})
	m := regexp.MustCompile(`the new process serves.* pid=(\d+)`).FindStringSubmatch(read("log"))
	if m == nil {
		t.Fatalf("the log: %s", read("log"))
	}
	successor, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(successor, syscall.SIGKILL) }) // mostly it has ended
	if code := g.Wait(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if text := read("pid"); text != m[1]+"\n" {
		t.Errorf("pid file %q, the process is %s", text, m[1])
	}
	if _, body := g.get("/"); body != who {
		t.Errorf("after the restart: %q", body)
	}
	testkit.Eventually(t, "another line in the access log", func() bool { return strings.Count(read("access"), "\n") == 2 })
	if err := syscall.Kill(successor, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "its end", func() bool { return read("pid") == "" })
	testkit.NoneLeft(t, dir)
}

// A link in the user's directory does not make another file the user's.
func TestWhatALinkLeadsToKeepsItsOwner(t *testing.T) {
	dir := nobodys(t, map[string]string{"f.txt": "x", "theirs": "", "also": ""})
	if err := os.Symlink("theirs", filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(dir, "also"), filepath.Join(dir, "access")); err != nil {
		t.Fatal(err)
	}
	g := start(t, dir, "-p", "0", "--user", "nobody", "--log-file", "log", "--access-log", "access", ".")
	g.Stop(syscall.SIGTERM)
	for _, name := range []string{"theirs", "also"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Sys().(*syscall.Stat_t).Uid != 0 {
			t.Errorf("%s is another user's: %v", name, err)
		}
	}
}
