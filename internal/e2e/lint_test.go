package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// Our own applications and bridges keep every rule of the specification: below Lint in strict mode
// each violation would be a failure.
func TestOwnApplicationsKeepTheRules(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "from the backend:", r.Method) }))
	t.Cleanup(backend.Close)
	dir := testkit.Tree(t, map[string]string{
		"app.psgi": `sub { my $e = shift; my $p = $e->{PATH_INFO};
			return [204, [], []] if $p eq '/204';
			return [304, [ETag => '"x"'], []] if $p eq '/304';
			return [200, ['Content-Type' => 'text/plain', 'Content-Length' => 3], ['abc']] if $p eq '/length';
			return sub { my $w = $_[0]->([200, ['Content-Type' => 'text/plain']]); $w->write($_) for 1 .. 3; $w->close } if $p eq '/stream';
			return [200, ['X-Sendfile' => "$ENV{PWD}/public/a.txt"], []] if $p eq '/sendfile';
			open my $fh, '<', 'public/a.txt'; return [200, ['Content-Type' => 'text/plain'], $fh] if $p eq '/file';
			[200, ['Content-Type' => 'text/plain'], ['hello']] }`,
		"cgi-bin/hello.sh":  "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nhello'\n",
		"cgi-bin/nph-x.sh":  "#!/bin/sh\nprintf 'HTTP/1.0 200 OK\\r\\nContent-Type: text/plain\\r\\n\\r\\nhello'\n",
		"cgi-bin/go.sh":     "#!/bin/sh\nprintf 'Location: /files/a.txt\\n\\n'\n",
		"public/a.txt":      "a file of 19 bytes\n",
		"public/index.html": "<p>index",
		"public/sub/b.txt":  "b",
		"site.yaml": `
listen: 127.0.0.1:0
middleware: [reverse_proxy, request_id, security_headers, head, content_length, lint: {strict: true}]
mounts:
  - {path: /app, psgi: app.psgi, workers: 1, sendfile: public, middleware: [lint: {strict: true}]}
  - {path: /cgi-bin, cgi: cgi-bin, middleware: [lint: {strict: true}]}
  - {path: /files, file: public}
  - {path: /list, directory: public}
  - {path: /gone, not_found: gone, status: 410}
  - {path: /to, redirect: /files/, status: 302}
  - {path: /both, cascade: [{file: public}, {psgi: app.psgi, workers: 1}]}
  - {path: /backend, proxy: ` + backend.URL + `}
  - {path: /twice, shadow: [{file: public}, {psgi: app.psgi, workers: 1}]}
  - path: /routes
    router: [{path: "/{name}.txt", method: GET, file: public/a.txt}, {mount: /files, file: public}]
`,
	})
	scripts, err := filepath.Glob(filepath.Join(dir, "cgi-bin/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, script := range scripts {
		if err := os.Chmod(script, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	g := &gateway{testkit.Start(t, testkit.Command(dir, program, "-c", "site.yaml")), t}
	for _, path := range []string{
		"/app", "/app/204", "/app/304", "/app/length", "/app/stream", "/app/sendfile", "/app/file", "/cgi-bin/hello.sh", "/cgi-bin/nph-x.sh", "/cgi-bin/go.sh",
		"/cgi-bin/none", "/files/", "/files/a.txt", "/files/sub", "/files/none", "/list/sub/", "/gone", "/to", "/both/a.txt", "/both/none", "/nothing",
		"/backend/x", "/twice/a.txt", "/twice/none", "/routes/a.txt", "/routes/files/a.txt", "/routes/none",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "OPTIONS"} {
			req := testkit.NewRequest(t, method, g.URL+path, strings.NewReader(""))
			req.Header.Set("Range", "bytes=0-1")
			if res, body := testkit.Do(t, client, req); res.StatusCode >= 500 && !(res.StatusCode == 501 && method != "GET") {
				t.Errorf("%s %s: %s %q", method, path, res.Status, body)
			}
		}
	}
}
