package conformance

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

const (
	// plackVariable is "all" to run Plack's tests.
	plackVariable = "PLACK_TESTS"
	// plackTime is how long one of its files may take.
	plackTime = 10 * time.Minute
)

// Plack's own tests, with every request sent over the wire by Plack::Handler::PagiBridge. Some of
// them cannot pass over the wire, for example where the application sets variables for its test. So
// a test may fail only if it also fails with Plack's own server.
func TestPlack(t *testing.T) {
	if os.Getenv(plackVariable) != "all" {
		t.Skip(plackVariable + " is not all")
	}
	testkit.Tool(t, "prove", "perl")
	if err := exec.Command("perl", "-MPlack", "-MTest::TCP", "-e1").Run(); err != nil {
		t.Skip("Plack is not installed (apt-get install libplack-perl)")
	}
	program := filepath.Join(t.TempDir(), "pagi-bridge")
	if out, err := exec.Command("go", "build", "-pgo=off", "-o", program, "../../cmd/pagi-bridge").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	handler, err := filepath.Abs("../../perl/plack/lib")
	if err != nil {
		t.Fatal(err)
	}
	root := fetchSource(t, "libplack-perl")
	ran := 0
	err = filepath.WalkDir(filepath.Join(root, "t"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".t" {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		ran++
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			standard := failures(t, root, name, "PLACK_SERVER=Standalone")
			here := failures(t, root, name, "PLACK_SERVER=PagiBridge", "PAGI_BRIDGE="+program, "PERL5LIB="+handler)
			more := slices.DeleteFunc(here, func(failed string) bool { return slices.Contains(standard, failed) })
			if len(more) > 0 {
				t.Errorf("fails here alone: %s", strings.Join(more, ", "))
			}
		})
		return nil
	})
	if err != nil || ran < 100 {
		t.Errorf("%d files, %v", ran, err)
	}
}

var notOK = regexp.MustCompile(`(?m)^not ok \d+`)

// failures runs a test file and returns which of its tests fail.
func failures(t *testing.T, root, name string, env ...string) []string {
	ctx, cancel := context.WithTimeout(t.Context(), plackTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, "perl", "-Ilib", name)
	cmd.Dir = root
	cmd.Env = append(append(cmd.Environ(), "PLACK_TEST_IMPL=Server", "PLACK_ENV=", "PAGI_ENV="), env...)
	cmd.WaitDelay = 5 * time.Second // a server that outlives the test still holds its output
	out, err := cmd.Output()
	failed := notOK.FindAllString(string(out), -1)
	if err != nil && len(failed) == 0 {
		failed = []string{"its end"}
	}
	return failed
}

// fetchSource fetches the source of a Debian package and unpacks it. It does not change the
// machine's list of sources.
func fetchSource(t *testing.T, name string) string {
	t.Helper()
	testkit.Tool(t, "apt-get", "apt")
	const keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
	release, err := os.ReadFile("/etc/os-release")
	if err != nil {
		t.Skip(err)
	}
	code := regexp.MustCompile(`(?m)^VERSION_CODENAME=(\w+)`).FindSubmatch(release)
	if _, err := os.Stat(keys); err != nil || code == nil {
		t.Skip("this is no Debian")
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "lists/partial"), 0o755); err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "sources.list")
	if err := os.WriteFile(list, fmt.Appendf(nil, "deb-src [signed-by=%s] http://deb.debian.org/debian %s main\n", keys, code[1]), 0o644); err != nil {
		t.Fatal(err)
	}
	apt := func(args ...string) {
		options := []string{"-o", "Dir::State::lists=" + dir + "/lists", "-o", "Dir::Etc::sourcelist=" + list, "-o", "Dir::Etc::sourceparts=-"}
		cmd := exec.Command("apt-get", append(options, args...)...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Skipf("apt-get %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
	apt("update")
	apt("source", "--download-only", name)
	archives, err := filepath.Glob(filepath.Join(dir, name+"_*.orig.tar.*"))
	if err != nil || len(archives) != 1 {
		t.Fatalf("%q, %v", archives, err)
	}
	unpacked := filepath.Join(dir, "source")
	if err := os.Mkdir(unpacked, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("tar", "-xf", archives[0], "-C", unpacked, "--strip-components=1").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return unpacked
}
