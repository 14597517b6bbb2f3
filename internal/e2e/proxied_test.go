package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// A PSGI application and a CGI script behind a trusted proxy see the client and what it has asked
// for, and so does the access log.
func TestReverseProxy(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{
		"users":    "ann:{SHA}W8r/fyL/UzygmbNAjq2HbA67qac=\n", // "open sesame"
		"app.psgi": `sub { my $e = shift; [200, [], [join ' ', map { $e->{$_} // '-' } qw(REMOTE_USER REMOTE_ADDR HTTPS SERVER_PORT HTTP_HOST SCRIPT_NAME HTTP_X_FORWARDED_FOR)]] }`,
		"cgi-bin/env.sh": "#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\n'\n" +
			`printf '%s %s %s %s %s %s %s' "$REMOTE_USER" "$REMOTE_ADDR" "$HTTPS" "$SERVER_PORT" "$HTTP_HOST" "$SCRIPT_NAME" "$HTTP_X_FORWARDED_FOR"` + "\n",
		"site.yaml": `
listen: 127.0.0.1:0
access_log: access.log
access_log_format: "%h %{c}a %u %U"
middleware:
  - reverse_proxy: {headers: [X-Forwarded-For, X-Forwarded-Proto, X-Forwarded-Host, X-Forwarded-Prefix]}
  - basic_auth: {htpasswd: users}
mounts:
  - {path: /app, psgi: app.psgi, workers: 1}
  - {path: /cgi-bin, cgi: cgi-bin}
`,
	})
	if err := os.Chmod(filepath.Join(dir, "cgi-bin/env.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	g := &gateway{testkit.Start(t, testkit.Command(dir, program, "-c", "site.yaml")), t}
	for path, root := range map[string]string{"/app": "/old/app", "/cgi-bin/env.sh": "/old/cgi-bin/env.sh"} {
		req := testkit.NewRequest(t, "GET", g.URL+path, nil)
		for name, value := range map[string]string{"X-Forwarded-For": "1.1.1.1, 192.0.2.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "www.example.org", "X-Forwarded-Prefix": "/old"} {
			req.Header.Set(name, value)
		}
		req.SetBasicAuth("ann", "open sesame")
		_, body := testkit.Do(t, client, req)
		if want := "ann 192.0.2.7 on 443 www.example.org " + root + " 192.0.2.7"; body != want {
			t.Errorf("%s: %q, want %q", path, body, want)
		}
		g.Eventually("the access log names the client", func() bool {
			log, err := os.ReadFile(filepath.Join(dir, "access.log"))
			return err == nil && strings.Contains(string(log), "192.0.2.7 127.0.0.1 ann "+path+"\n")
		})
	}
}
