package psgi

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// failed mounts an application whose newest version cannot be loaded.
func failed(t *testing.T, o PSGI) *mounted {
	t.Helper()
	broken := filepath.Join(t.TempDir(), "broken")
	o.Code = "die qq(<broken> & gone\\n) if -e '" + broken + "'; " + o.Code
	m := mount(t, o)
	writeFile(t, broken, "")
	if err := m.reload(); err == nil {
		t.Fatal("it could be reloaded")
	}
	t.Cleanup(func() { // once it is repaired nothing is shown any more
		if err := os.Remove(broken); err != nil {
			t.Fatal(err)
		}
		if err := m.app.(interface{ Reload(context.Context) error }).Reload(context.Background()); err != nil {
			t.Fatal(err)
		}
		if r := m.get("/"); strings.Contains(r.body, "&lt;broken&gt;") {
			t.Errorf("still shown: %+v", r)
		}
	})
	return m
}

func told(files []string) {}

func TestBanner(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"page.html": strings.Repeat("<p>", 40_000)})
	t.Chdir(dir)
	m := failed(t, PSGI{Environment: "development", Loaded: told, Code: `
		my %answers = (
			'/'         => sub { [200, ['Content-Type', 'text/html'], ['<p>page']] },
			'/upper'    => sub { [404, ['Content-Type', 'Text/HTML; charset=utf-8', 'Content-Length', 7, 'ETag', '"1"'], ['<p>page']] },
			'/stream'   => sub { sub { my $w = $_[0]->([200, ['Content-Type', 'text/html']]); $w->write('<p>'); $w->write('page'); $w->close } },
			'/file'     => sub { open my $in, '<', 'page.html' or die; [200, ['Content-Type', 'text/html', 'Content-Length', -s $in], $in] },
			'/die'      => sub { die 'in the old version' },
			'/text'     => sub { [200, ['Content-Type', 'text/plain'], ['<p>page']] },
			'/none'     => sub { [200, [], ['<p>page']] },
			'/packed'   => sub { [200, ['Content-Type', 'text/html', 'Content-Encoding', 'x'], ['<p>page']] },
			'/part'     => sub { [206, ['Content-Type', 'text/html', 'Content-Range', 'bytes 0-6/99'], ['<p>page']] },
			'/same'     => sub { [304, ['Content-Type', 'text/html'], []] },
		);
		sub { $answers{ $_[0]{PATH_INFO} }->() }`})
	const shown = `<pre style="margin:8px 0 0;color:#fff;font:13px/1.4 monospace;white-space:pre-wrap">&lt;broken&gt; &amp; gone</pre></div></dialog>`
	for path, with := range map[string]bool{
		"/": true, "/upper": true, "/stream": true, "/file": true, "/die": true,
		"/text": false, "/none": false, "/packed": false, "/part": false, "/same": false,
	} {
		r := m.get(path)
		if r.err != nil || !r.ended || strings.HasSuffix(r.body, shown+"\n") != with || strings.Contains(r.body, "broken") != with {
			t.Errorf("%s: shown is not %v: %d bytes, %v", path, with, len(r.body), r.err)
		}
		if length := r.headers.Get("content-length"); length != "" && length != strconv.Itoa(len(r.body)) {
			t.Errorf("%s: Content-Length %s of %d", path, length, len(r.body))
		}
		if with && (r.headers.Get("cache-control") != "no-store" || r.headers.Has("etag")) {
			t.Errorf("%s: %v", path, r.headers)
		}
		if path == "/file" && !strings.HasPrefix(r.body, strings.Repeat("<p>", 40_000)+"\n<dialog") {
			t.Error("the file is not whole")
		}
	}
	whole := m.get("/upper")
	head := m.do(call{method: "HEAD", path: "/upper"})
	if strings.Contains(head.body, "broken") || head.headers.Get("content-length") != whole.headers.Get("content-length") {
		t.Errorf("HEAD: %+v", head)
	}
}

// Only a developer sees the banner.
func TestNoBanner(t *testing.T) {
	for name, o := range map[string]PSGI{
		"in production":    {Environment: "production", Loaded: told},
		"without --reload": {Environment: "development"},
	} {
		t.Run(name, func(t *testing.T) {
			o.Code = "sub { [200, ['Content-Type', 'text/html'], ['<p>page']] }"
			if r := failed(t, o).get("/"); r.body != "<p>page" {
				t.Errorf("%+v", r)
			}
		})
	}
}
