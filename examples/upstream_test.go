package examples

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/dialog"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// Environment variables that name checkouts of PAGI: of the tag 0.001006, and a directory with the newest "pagi",
// "PAGI-Server" and "PAGI-Tools".
const (
	reference = "PAGI_REFERENCE"
	newest    = "PAGI_NEWEST"
)

var listening = regexp.MustCompile(`listening on (http://127\.0\.0\.1:\d+)`)

// The program in Perl that an example corresponds to gives the same answers in its own server. So the dialogs that
// the examples in Go are tested with are those of PAGI.
func TestUpstream(t *testing.T) {
	if os.Getenv(reference) == "" && os.Getenv(newest) == "" {
		t.Skipf("%s and %s do not name checkouts of PAGI", reference, newest)
	}
	perl := testkit.Tool(t, "perl", "perl")
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
			url := startUpstream(t, perl, file.Upstream)
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

// startUpstream starts a program in Perl, given as "REPOSITORY REVISION PATH", and returns its URL.
func startUpstream(t *testing.T, perl, upstream string) string {
	t.Helper()
	parts := strings.Fields(upstream)
	if len(parts) != 3 {
		t.Fatalf("%q is not REPOSITORY REVISION PATH", upstream)
	}
	repository, revision, path := parts[0], parts[1], parts[2]
	if filepath.Base(path) != "app.pl" {
		t.Skip("it listens at a port of its own choice")
	}
	var root string
	var args []string
	if revision == "HEAD" {
		root = os.Getenv(newest)
		path = filepath.Join(root, repository, path)
		for _, tree := range []string{"pagi", "PAGI-Tools", "PAGI-Server"} {
			args = append(args, "-I"+filepath.Join(root, tree, "lib"))
		}
		args = append(args, filepath.Join(root, "PAGI-Server/bin/pagi-server"))
	} else {
		root = os.Getenv(reference)
		path = filepath.Join(root, path)
		args = []string{"-I" + filepath.Join(root, "lib"), filepath.Join(root, "bin/pagi-server")}
	}
	if root == "" {
		t.Skipf("no variable names a checkout of %s %s", repository, revision)
	}
	if libs := filepath.Join(filepath.Dir(path), "lib"); isDir(libs) {
		args = append([]string{"-I" + libs}, args...)
	}
	log := new(testkit.Log)
	cmd := testkit.Command(t.TempDir(), perl, append(args, "--app", path, "--port", "0", "--no-access-log")...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // an error says that it has ended
		<-ended
		if t.Failed() {
			t.Logf("the program in Perl wrote:\n%s", log)
		}
	})
	var url []string
	testkit.Eventually(t, "the program in Perl", func() bool {
		select {
		case err := <-ended:
			ended <- err
			if strings.Contains(log.String(), "you may need to install") {
				t.Skipf("a module of Perl is missing:\n%s", log)
			}
			t.Fatalf("it has ended: %v\n%s", err, log)
		default:
		}
		url = listening.FindStringSubmatch(log.String())
		return url != nil
	})
	return url[1]
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
