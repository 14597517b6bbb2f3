package e2e

import (
	"bufio"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// Programs that know nothing of sse scopes get ordinary requests from a client that accepts an
// event stream, and their output arrives piece by piece.
func TestEventStreamsOfPerl(t *testing.T) {
	dir := t.TempDir()
	gate := filepath.Join(dir, "gate")
	const loop = `for my $n (1..3) { %s; while ($n == 1 && !-e $ENV{GATE}) { select undef, undef, undef, 0.01 } }`
	script := "#!/usr/bin/perl\n$| = 1;\nprint \"Content-Type: text/event-stream\\n\\n\";\n" +
		strings.Replace(loop, "%s", `print "data: $ENV{REQUEST_METHOD} $n\n\n"`, 1)
	if err := os.WriteFile(filepath.Join(dir, "events"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	plain := "#!/usr/bin/perl\nprint \"Status: 404 Not Found\\nContent-Type: text/plain\\n\\nnone here\";\n"
	if err := os.WriteFile(filepath.Join(dir, "plain"), []byte(plain), 0o755); err != nil {
		t.Fatal(err)
	}
	psgi := `sub { my $e = shift;
		return [404, ['Content-Type' => 'text/plain'], ['none here']] if $e->{PATH_INFO} eq '/plain';
		sub { my $w = $_[0]->([200, ['Content-Type' => 'text/event-stream']]); ` +
		strings.Replace(loop, "%s", `$w->write("data: $e->{REQUEST_METHOD} $n\n\n")`, 1) + ` $w->close } }`
	t.Setenv("GATE", gate)
	site := filepath.Join(dir, "site.yaml")
	if err := os.WriteFile(site, []byte("mounts:\n  - {path: /, psgi: app.psgi, env: {GATE: "+gate+"}}\n  - {path: /cgi, cgi: ., env: {GATE: "+gate+"}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "app.psgi"), []byte(psgi), 0o600); err != nil {
		t.Fatal(err)
	}
	g := serve(t, "-c", site)
	for _, method := range []string{"GET", "POST"} {
		for _, mount := range []string{"", "/cgi"} {
			t.Run(method+" "+mount, func(t *testing.T) {
				_ = os.Remove(gate)
				ask := func(path string) *http.Response {
					req := testkit.NewRequest(t, method, g.URL+mount+path, strings.NewReader(""))
					req.Header.Set("Accept", "text/event-stream")
					res, err := client.Do(req)
					if err != nil {
						t.Fatal(err)
					}
					t.Cleanup(func() { _ = res.Body.Close() })
					return res
				}
				res := ask("/events")
				if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
					t.Fatalf("%v", res)
				}
				lines := bufio.NewReader(res.Body)
				first, err := lines.ReadString('\n')
				if err != nil || first != "data: "+method+" 1\n" {
					t.Fatalf("%q, %v", first, err)
				}
				if err := os.WriteFile(gate, nil, 0o600); err != nil { // it goes on only now
					t.Fatal(err)
				}
				if rest, err := io.ReadAll(lines); err != nil || string(rest) != "\ndata: "+method+" 2\n\ndata: "+method+" 3\n\n" {
					t.Errorf("%q, %v", rest, err)
				}
				res = ask("/plain")
				if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 404 || string(body) != "none here" {
					t.Errorf("%v %q, %v", res, body, err)
				}
			})
		}
	}
}
