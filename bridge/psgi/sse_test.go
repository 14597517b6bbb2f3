package psgi

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// An sse scope is answered with an ordinary response.
func TestSSEScope(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	large := strings.Repeat("0123456789", 20_000)
	if err := os.WriteFile(file, []byte(large), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := []struct {
		name, perl string
		call       call
		status     int
		body       string
		pieces     int
	}{
		{"an array", `[200, ['X-A' => 1], ['array']]`, call{}, 200, "array", 1},
		{"an event stream", `sub { my $w = $_[0]->([200, ['Content-Type' => 'text/event-stream']]); $w->write("data: $_\n\n") for 1..2; $w->close }`, call{}, 200, "data: 1\n\ndata: 2\n\n", 0},
		{"a file", `do { open my $fh, '<', $ENV{FILE} or die; [200, [], $fh] }`, call{}, 200, large, 4},
		{"the end of a file", `do { open my $fh, '<', $ENV{FILE} or die; seek $fh, 199_995, 0; [200, [], $fh] }`, call{}, 200, "56789", 1},
		{"a request body", `do { read $_[0]{'psgi.input'}, my $b, 1e6; [200, [], [length $b]] }`, call{method: "POST", body: large}, 200, "200000", 1},
		{"an interim response", `do { $_[0]{'psgix.informational'}->(103, []); [201, [], ['final']] }`, call{}, 201, "final", 1},
		{"an error page", `die "luck\n"`, call{}, 500, "", 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m := mount(t, PSGI{Code: `sub { ` + c.perl + ` }`, Env: map[string]string{"FILE": file}, Environment: "development"})
			c.call.kind, c.call.path = pagi.TypeSSE, "/"
			r := m.do(c.call)
			if c.body == "" {
				c.body = r.body
			}
			if r.err != nil || r.status != c.status || r.body != c.body || !r.ended || r.file {
				t.Errorf("%d, %d bytes %.100q, file %v, ended %v, error %v", r.status, len(r.body), r.body, r.file, r.ended, r.err)
			}
			if c.pieces > 0 && len(r.chunks) != c.pieces {
				t.Errorf("%d pieces, want %d", len(r.chunks), c.pieces)
			}
		})
	}
	r := code(t, `sub { die "luck\n" }`).do(call{kind: pagi.TypeSSE, path: "/"})
	var status *pagi.StatusError
	if !errors.As(r.err, &status) || status.Status != 500 {
		t.Errorf("error %v", r.err)
	}
}
