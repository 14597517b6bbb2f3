package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// HUP under load: no request fails, a broken version is logged and changes nothing.
func TestHangup(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	app := filepath.Join(t.TempDir(), "app.psgi")
	write(t, app, "sub { [200, [], ['one']] }")
	g := serve(t, "-w", "3", app)
	done := make(chan struct{})
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				res, err := http.Get(g.URL)
				if err != nil {
					t.Error(err)
					return
				}
				_ = res.Body.Close()
				if res.StatusCode != 200 {
					t.Errorf("status %d", res.StatusCode)
				}
			}
		})
	}
	hangup := func() {
		if err := g.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	write(t, app, "sub { [200, [], ['two']] }")
	hangup()
	g.Log.WaitFor(t, "level=INFO", "reload: done", "took=")
	if _, body := g.get("/"); body != "two" {
		t.Errorf("after the reload: %q", body)
	}
	write(t, app, "sub { syntax error here")
	hangup()
	g.Log.WaitFor(t, "level=ERROR", "reload: failed", "error=", "/: ", "syntax error at "+app)
	if _, body := g.get("/"); body != "two" {
		t.Errorf("after the broken version: %q", body)
	}
	write(t, app, "sub { [200, [], ['three']] }")
	hangup()
	testkit.Eventually(t, "the repaired version", func() bool { _, body := g.get("/"); return body == "three" })
	close(done)
	clients.Wait()
}
