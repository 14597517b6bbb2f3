package e2e

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// Every middleware lets the pieces of a body through as they come: the application sends each piece
// only when the client has the one before.
func TestAStreamPassesThroughEveryMiddleware(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{
		"public/a.txt": "a",
		"app.psgi": `use Cwd; my $dir = getcwd;
			sub { sub { my $w = $_[0]->([200, ['Content-Type' => 'text/plain']]);
				for my $n (1 .. 10) {
					$w->write("piece $n\n");
					select undef, undef, undef, 0.01 until -e "$dir/got.$n";
				}
				$w->close } }`,
		"site.yaml": `
listen: 127.0.0.1:0
middleware:
  - reverse_proxy
  - request_id
  - access_log: {file: access.log}
  - runtime: {server_timing: true}
  - trusted_hosts: {hosts: "*"}
  - security_headers
  - headers: {response: {set: {x-stack: all}}}
  - cors: {origins: https://a.example}
  - gzip
  - head
  - error_handler
  - healthcheck
  - maintenance: {file: maintenance}
  - timeout
  - access: {allow: 127.0.0.1}
  - rate_limit
  - conditional_get
  - etag
  - content_length
  - cookie: {secrets: [a secret of thirty-two bytes or more]}
  - session
  - csrf
  - method_override
  - rewrite: {rules: [{from: /old, to: /stream}]}
  - static: {root: public, pass_through: true}
  - xsendfile: {type: X-Sendfile}
  - content_negotiation: {supported_types: [text/plain]}
  - json_body
  - form_body
  - websocket_compression
  - websocket_heartbeat
  - websocket_rate_limit
  - sse_heartbeat
  - sse_retry
  - lint: {strict: true}
mounts:
  - {path: /, psgi: app.psgi, workers: 1}
`,
	})
	g := &gateway{testkit.Start(t, testkit.Command(dir, program, "-c", "site.yaml")), t}
	for _, coding := range []string{"identity", "gzip"} {
		for n := range 10 {
			if err := os.Remove(filepath.Join(dir, fmt.Sprintf("got.%d", n+1))); err != nil && !os.IsNotExist(err) {
				t.Fatal(err)
			}
		}
		req := testkit.NewRequest(t, "GET", g.URL+"/old", nil)
		req.Header.Set("Accept-Encoding", coding)
		req.Header.Set("Origin", "https://a.example")
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body := io.Reader(res.Body)
		if res.Header.Get("Content-Encoding") == "gzip" {
			if body, err = gzip.NewReader(res.Body); err != nil {
				t.Fatal(err)
			}
		} else if coding == "gzip" {
			t.Errorf("the response is not compressed: %v", res.Header)
		}
		for n := range 10 {
			want := fmt.Sprintf("piece %d\n", n+1)
			piece := make([]byte, len(want))
			if _, err := io.ReadFull(body, piece); err != nil || string(piece) != want {
				t.Fatalf("%s: %q, %v", coding, piece, err)
			}
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("got.%d", n+1)), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if rest, err := io.ReadAll(body); err != nil || len(rest) > 0 {
			t.Errorf("%s: %q, %v", coding, rest, err)
		}
		if err := res.Body.Close(); err != nil {
			t.Error(err)
		}
		for _, name := range []string{"X-Stack", "X-Request-Id", "X-Runtime", "X-Frame-Options", "Access-Control-Allow-Origin", "X-Ratelimit-Limit"} {
			if res.Header.Get(name) == "" {
				t.Errorf("%s: %s is missing: %v", coding, name, res.Header)
			}
		}
	}
}
