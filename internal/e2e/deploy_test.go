package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// Releases are switched by a link, as docs/deploy.md says, while clients ask without a pause. No request is lost, and none is
// answered by a release that was replaced before the request was made.
func TestASwitchOfReleasesLosesNoRequest(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	const releases = 5
	files := map[string]string{"site.yaml": "status_socket: run/status.sock\nmounts:\n  - {path: /, psgi: current/app.psgi, lib: [current/lib], workers: 2}\n"}
	for n := 1; n <= releases; n++ {
		files[fmt.Sprintf("releases/%d/app.psgi", n)] = "use Shop;\nsub { [200, ['Content-Type' => 'text/plain'], [Shop::version()]] };\n"
		files[fmt.Sprintf("releases/%d/lib/Shop.pm", n)] = fmt.Sprintf("package Shop;\nsub version {%d}\n1;\n", n)
	}
	dir := testkit.Tree(t, files)
	link(t, dir, 1)
	site := filepath.Join(dir, "site.yaml")
	g := serve(t, "-E", "production", "-c", site)

	var least, asked atomic.Int64
	least.Store(1)
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			client := &http.Client{}
			defer client.CloseIdleConnections()
			for {
				select {
				case <-stop:
					return
				default:
				}
				from := least.Load()
				n, err := releaseAt(client, g.URL)
				if err != nil || n < from {
					t.Errorf("release %d answered, want %d or a later one: %v", n, from, err)
					return
				}
				asked.Add(1)
			}
		})
	}
	for n := int64(2); n <= releases; n++ {
		before := asked.Load()
		link(t, dir, int(n))
		if out, err := testkit.Command("", program, "reload", "-c", site).CombinedOutput(); err != nil {
			t.Fatalf("reload: %v\n%s", err, out)
		}
		least.Store(n)
		testkit.Eventually(t, "requests to the new release", func() bool { return t.Failed() || asked.Load() > before+20 })
	}
	close(stop)
	clients.Wait()
	if t.Failed() {
		return
	}
	if n, err := releaseAt(http.DefaultClient, g.URL); err != nil || n != releases {
		t.Errorf("release %d answers at the end: %v", n, err)
	}
	t.Logf("%d requests", asked.Load())
}

// link makes a release the current one in one step.
func link(t *testing.T, dir string, release int) {
	t.Helper()
	next := filepath.Join(dir, "next")
	err := os.Symlink(fmt.Sprintf("releases/%d", release), next)
	if err == nil {
		err = os.Rename(next, filepath.Join(dir, "current"))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// releaseAt returns the number of the release that answers.
func releaseAt(client *http.Client, url string) (n int64, err error) {
	res, err := client.Get(url)
	if err != nil {
		return 0, err
	}
	body, err := io.ReadAll(res.Body)
	_ = res.Body.Close() // it has been read
	if err != nil || res.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("status %d: %q: %w", res.StatusCode, body, err)
	}
	_, err = fmt.Sscan(strings.TrimSpace(string(body)), &n)
	return n, err
}
