package e2e

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

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

// --reload: saving a file is enough, and a broken version shows on the page.
func TestReloadOnChange(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	dir := testkit.Tree(t, map[string]string{
		"app.psgi":       "use Page; sub { require Late if $_[0]{PATH_INFO} eq '/late'; [200, ['Content-Type' => 'text/html; charset=utf-8', 'Content-Length' => length Page::text()], [Page::text()]] }",
		"lib/Page.pm":    "package Page; sub text { '<p>one' } 1;\n",
		"vendor/Late.pm": "package Late; 1;\n",
	})
	app, page, late := filepath.Join(dir, "app.psgi"), filepath.Join(dir, "lib/Page.pm"), filepath.Join(dir, "vendor/Late.pm")
	t.Setenv("PERL5LIB", filepath.Join(dir, "vendor"))
	g := serve(t, "-w", "2", "-E", "development", "--reload", "-I", filepath.Join(dir, "lib"), app)
	eventually := func(what string) {
		t.Helper()
		testkit.Eventually(t, what, func() bool { _, body := g.get("/"); return body == what })
	}
	eventually("<p>one")
	write(t, page, "package Page; sub text { '<p>two' } 1;\n")
	eventually("<p>two")
	g.Log.WaitFor(t, "level=INFO", "reload: begun", "mount=/", "Page.pm")

	write(t, page, "package Page; sub text { <p>three } 1;\n")
	g.Log.WaitFor(t, "level=ERROR", "reload: failed", "mount=/", "syntax error")
	res, body := g.get("/")
	if !strings.HasPrefix(body, "<p>two\n<dialog open") || !strings.Contains(body, "syntax error at "+page+" line 1, near &#34;&lt;p&gt;") {
		t.Errorf("the page does not say so: %q", body)
	}
	if res.ContentLength != int64(len(body)) || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v for %d bytes", res.Header, len(body))
	}
	if n := strings.Count(g.Log.String(), "level=ERROR"); n != 1 {
		t.Errorf("%d errors were logged", n)
	}

	replacement := page + ".new"
	write(t, replacement, "package Page; sub text { '<p>four' } 1;\n")
	if err := os.Rename(replacement, page); err != nil {
		t.Fatal(err)
	}
	eventually("<p>four")

	g.get("/late")      // now Late.pm is one of the application's files
	for n := range 20 { // until it is known that the file is one of them
		write(t, late, "package Late; 1; #"+strings.Repeat("x", n)+"\n")
		time.Sleep(500 * time.Millisecond) // a change is reported when no further one follows
		if strings.Contains(g.Log.String(), late) {
			break
		}
	}
	g.Log.WaitFor(t, "reload: begun", "Late.pm")
}
