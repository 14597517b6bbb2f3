package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// h2spec is the conformance suite for HTTP/2, and the version the figures are of.
const h2spec = "github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible"

// TestH2Spec runs all cases of h2spec, the strict ones included, over TLS and without.
func TestH2Spec(t *testing.T) {
	if testing.Short() {
		t.Skip("h2spec is not run in a short test")
	}
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "install", h2spec)
	build.Dir, build.Env = bin, append(os.Environ(), "GOBIN="+bin, "GOFLAGS=-mod=mod")
	if out, err := build.CombinedOutput(); err != nil {
		t.Skipf("h2spec cannot be built: %v\n%s", err, out)
	}
	const app = `sub { local $/; my $body = readline $_[0]{'psgi.input'}; [200, ['Content-Type' => 'text/plain'], ['hello']] }`
	pair := testkit.Certificate(t)
	for name, flags := range map[string][2][]string{
		"TLS": {{"--ssl-cert", pair.CertFile, "--ssl-key", pair.KeyFile}, {"--tls", "--insecure"}},
		"h2c": {{"--h2c"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := serve(t, append(flags[0], "-w", "1", "-e", app)...)
			host, port, err := net.SplitHostPort(g.Address())
			if err != nil {
				t.Fatal(err)
			}
			suite := exec.CommandContext(t.Context(), filepath.Join(bin, "h2spec"), append(flags[1], "--strict", "-h", host, "-p", port, "-o", "5")...)
			out, err := suite.CombinedOutput()
			text := string(out)
			if last := text[strings.LastIndexByte(strings.TrimSpace(text), '\n')+1:]; err != nil || !strings.HasPrefix(last, "146 tests, 146 passed") {
				t.Errorf("%v\n%s", err, text[max(0, strings.LastIndex(text, "Failures:")):])
			} else {
				t.Log(strings.TrimSpace(last))
			}
		})
	}
}
