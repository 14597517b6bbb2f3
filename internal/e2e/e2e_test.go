// Package e2e tests the built program from the outside: real sockets, real
// clients, real Perl frameworks.
package e2e

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// program is the binary under test, mixedSite the one of the example.
var program, mixedSite string

func TestMain(m *testing.M) {
	os.Exit(testkit.RunWith(m, map[string]*string{"cmd/pagi-bridge": &program, "examples/20-mixed-site": &mixedSite}))
}

// root is the repository's top.
const root = "../.."

func testdata(name string) string {
	path, err := filepath.Abs(filepath.Join(root, "testdata/apps", name))
	if err != nil {
		panic(err)
	}
	return path
}

// isolated writes a site whose directory every user can enter.
func isolated(t *testing.T, files map[string]string) (dir string) {
	t.Helper()
	dir = testkit.Tree(t, files)
	for up := dir; up != os.TempDir() && up != "/"; up = filepath.Dir(up) {
		if err := os.Chmod(up, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// needPerl skips the test when a Perl module is missing.
func needPerl(t *testing.T, module, debian string) {
	t.Helper()
	if err := exec.Command("perl", "-M"+module, "-e", "1").Run(); err != nil {
		t.Skipf("the Perl module %s is not installed (apt-get install %s)", module, debian)
	}
}

// gateway is a running program.
type gateway struct {
	*testkit.Program
	t *testing.T
}

// serve starts the program on a free port and stops it when the test ends.
func serve(t *testing.T, args ...string) *gateway {
	t.Helper()
	return serveProgram(t, program, append([]string{"-p", "0"}, args...)...)
}

func serveProgram(t *testing.T, path string, args ...string) *gateway {
	t.Helper()
	return &gateway{testkit.Start(t, testkit.Command("", path, args...)), t}
}

// raw sends bytes as they are and returns the first response.
func (g *gateway) raw(request string) (*http.Response, string, error) {
	g.t.Helper()
	return testkit.Exchange(g.t, g.Address(), request)
}

var client = &http.Client{
	Timeout:       time.Minute,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// request sends a request and returns the response with its body read.
func (g *gateway) request(method, path, contentType string, body io.Reader) (*http.Response, string) {
	g.t.Helper()
	req := testkit.NewRequest(g.t, method, g.URL+path, body)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	return testkit.Do(g.t, client, req)
}

func (g *gateway) get(path string) (*http.Response, string) {
	g.t.Helper()
	return g.request("GET", path, "", nil)
}
