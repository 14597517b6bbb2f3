package command_test

import (
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// TestWithoutDescriptors: connections use up all descriptors. An open connection gets 503, others
// wait, and the log has a line. Everything works again when some connections have gone.
func TestWithoutDescriptors(t *testing.T) {
	pair := testkit.Certificate(t)
	for name, args := range map[string]string{"plain": "", "TLS": " --ssl-cert " + pair.CertFile + " --ssl-key " + pair.KeyFile} {
		t.Run(name, func(t *testing.T) {
			dir := testkit.Tree(t, map[string]string{"f.txt": "hello"})
			// A second address, without TLS, for the connection that the test checks.
			cmd := testkit.Command(dir, "/bin/sh", "-c", `ulimit -n 64; exec "$0" "$@"`, program)
			cmd.Args = append(cmd.Args, strings.Fields("--listen 127.0.0.1:0 --listen ./s --max-connections 0"+args+" .")...)
			g := &gateway{testkit.Start(t, cmd), t}
			client := testkit.OverUnix(t, dir+"/s")
			get := func() (*http.Response, string) { return testkit.Get(t, client, "http://site/f.txt") }
			if res, body := get(); res.StatusCode != 200 || body != "hello" {
				t.Fatalf("%s %q", res.Status, body)
			}
			var conns []net.Conn
			for range 100 {
				c, err := net.Dial("tcp", g.Address()) // the kernel takes it
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				conns = append(conns, c)
			}
			const cannot = "connections cannot be accepted now, and wait"
			g.Log.WaitFor(t, cannot, "too many open files")
			testkit.Eventually(t, "503", func() bool {
				res, _ := get()
				return res.StatusCode == 503 && res.Header.Get("Retry-After") == "1"
			})
			if n := strings.Count(g.Log.String(), cannot) + strings.Count(g.Log.String(), "Accept error"); n != 1 {
				t.Errorf("told %d times", n)
			}
			for _, c := range conns {
				_ = c.Close() // nothing was said on it
			}
			g.Log.WaitFor(t, "connections are accepted again")
			testkit.Eventually(t, "200", func() bool { res, _ := get(); return res.StatusCode == 200 })
		})
	}
}
