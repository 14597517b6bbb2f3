package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// output runs a command and returns what it printed.
func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}

func TestCurl(t *testing.T) {
	curl := testkit.Tool(t, "curl", "curl")
	g := serve(t, "-w", "1", "-e", echoApp)
	large := filepath.Join(t.TempDir(), "large")
	if err := os.WriteFile(large, bytes.Repeat([]byte("x"), 2_000_000), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"get":             {[]string{g.URL + "/a?b=c"}, "GET /a b=c [] HTTP_ACCEPT,HTTP_HOST,HTTP_USER_AGENT"},
		"head":            {[]string{"-I", g.URL + "/"}, "HTTP/1.1 200 OK"},
		"http/1.0":        {[]string{"-0", g.URL + "/"}, "GET /"},
		"form":            {[]string{"-d", "a=b", g.URL + "/"}, "[a=b]"},
		"chunked":         {[]string{"-H", "Transfer-Encoding: chunked", "-d", "a=b", g.URL + "/"}, "[a=b]"},
		"100-continue":    {[]string{"-H", "Expect: 100-continue", "-d", "a=b", g.URL + "/"}, "[a=b]"},
		"put of a file":   {[]string{"-T", large, g.URL + "/"}, "PUT /"},
		"two on one line": {[]string{g.URL + "/1", g.URL + "/2"}, "GET /2"},
		"error":           {[]string{"-w", "%{http_code}", g.URL + "/die"}, "500"},
	} {
		t.Run(name, func(t *testing.T) {
			if out := output(t, curl, append([]string{"-sS", "--max-time", "20"}, c.args...)...); !strings.Contains(out, c.want) {
				t.Errorf("%q, want %q", out, c.want)
			}
		})
	}
}

func TestLWP(t *testing.T) {
	needPerl(t, "LWP::UserAgent", "libwww-perl")
	g := serve(t, "-w", "1", "-e", echoApp)
	out := output(t, "perl", "-MLWP::UserAgent", "-e", `
		my $ua = LWP::UserAgent->new(keep_alive => 1);
		my ($url) = @ARGV;
		print $ua->get("$url/a?b")->content, "\n";
		print $ua->post("$url/form", { a => 'x y' })->content, "\n";
		print $ua->post("$url/up", 'Content-Type' => 'form-data', Content => [ f => [undef, 'name.txt', Content => 'inside'] ])->code, "\n";
		my $n = 0;
		my $req = HTTP::Request->new(PUT => "$url/chunked", ['Content-Type' => 'text/plain'], sub { $n++ < 3 ? "piece$n" : '' });
		print $ua->request($req)->content, "\n";
		print $ua->get("$url/die")->status_line, "\n";
	`, g.URL)
	for _, want := range []string{"GET /a b []", "[a=x+y]", "\n200\n", "[piece1piece2piece3]", "500 Internal Server Error"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
}

// Debian's gitweb, as CGI, over a repository made here.
func TestGitweb(t *testing.T) {
	git := testkit.Tool(t, "git", "git")
	needPerl(t, "CGI", "libcgi-pm-perl")
	const script = "/usr/share/gitweb/gitweb.cgi"
	if _, err := os.Stat(script); err != nil {
		t.Skip("gitweb is not installed (apt-get install gitweb)")
	}
	dir := t.TempDir()
	repo := filepath.Join(dir, "project")
	run := func(args ...string) string {
		t.Helper()
		return output(t, git, append([]string{"-C", repo, "-c", "user.name=A U Thor", "-c", "user.email=author@example.test"}, args...)...)
	}
	if err := os.Mkdir(repo, 0o700); err != nil {
		t.Fatal(err)
	}
	run("init", "-q", "-b", "main")
	for n, content := range []string{"first\n", "first\nsecond <line>\n"} {
		if err := os.WriteFile(filepath.Join(repo, "file.txt"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		run("add", ".")
		run("commit", "-q", "-m", fmt.Sprintf("Commit number %d", n+1))
	}
	config := filepath.Join(dir, "gitweb.conf")
	if err := os.WriteFile(config, []byte("our $projectroot = '"+dir+"';\n$feature{'snapshot'}{'default'} = ['tgz'];\n1;\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g := serveProgram(t, program, "-c", siteFile(t, fmt.Sprintf(`
listen: ["127.0.0.1:0"]
mounts:
  - path: /git
    cgi: %s
    env:
      GITWEB_CONFIG: %s
`, script, config)))
	for query, want := range map[string]string{
		"":                                    "project/.git",
		"?p=project/.git;a=summary":           "Commit number 2",
		"?p=project/.git;a=log":               "Commit number 1",
		"?p=project/.git;a=commitdiff;h=HEAD": "second&nbsp;&lt;line&gt;",
	} {
		if res, body := g.get("/git" + query); res.StatusCode != 200 || !strings.Contains(body, want) {
			t.Errorf("%q: %d, %q is missing in %d bytes", query, res.StatusCode, want, len(body))
		}
	}
	res, tarball := g.get("/git?p=project/.git;a=snapshot;h=HEAD;sf=tgz")
	path := filepath.Join(dir, "snapshot.tgz")
	if err := os.WriteFile(path, []byte(tarball), 0o600); err != nil {
		t.Fatal(err)
	}
	names := output(t, "tar", "tzf", path)
	member := ""
	for _, name := range strings.Fields(names) {
		if strings.HasSuffix(name, "/file.txt") {
			member = name
		}
	}
	if content := output(t, "tar", "xzOf", path, member); res.StatusCode != 200 || content != "first\nsecond <line>\n" {
		t.Errorf("snapshot: %d, %s\n%q", res.StatusCode, names, content)
	}
}

// The example, as its README says it is run.
func TestMixedSite(t *testing.T) {
	site, err := os.ReadFile(filepath.Join(root, "examples/20-mixed-site/site.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	// The same file with a free port, where its paths mean the same.
	free := filepath.Join(root, "examples/20-mixed-site", "test-"+hex.EncodeToString([]byte(t.Name()))+".yaml")
	if err := os.WriteFile(free, bytes.Replace(site, []byte("127.0.0.1:5000"), []byte("127.0.0.1:0"), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(free); err != nil {
			t.Error(err)
		}
	})
	t.Setenv("GUESTBOOK_FILE", filepath.Join(t.TempDir(), "book"))
	g := serveProgram(t, mixedSite, "-c", free)
	for path, want := range map[string]string{
		"/":                   "Answered by go1.",
		"/guestbook/":         "a PSGI application",
		"/cgi-bin/form.cgi":   "Perl 5",
		"/cgi-bin/env.sh/a/b": "/a/b",
		"/cgi-bin/upload.py":  "Python 3",
		"/static/style.css":   "color-scheme",
	} {
		res, body := g.get(path)
		if res.StatusCode != 200 || !strings.Contains(body, want) || res.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s: %d, %q is missing, headers %v", path, res.StatusCode, want, res.Header)
		}
		if strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") && !strings.Contains(body, `href="/static/style.css"`) {
			t.Errorf("%s does not use the style sheet", path)
		}
	}
	for path, want := range map[string]int{"/nope": 404, "/cgi-bin/": 404, "/cgi-bin/../guestbook/app.psgi": 404, "/static/../site.yaml": 403} {
		if res, _, err := g.raw("GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil || res.StatusCode != want {
			t.Errorf("%s: %v %v, want %d", path, res, err, want)
		}
	}
	form := "application/x-www-form-urlencoded"
	if res, _ := g.request("POST", "/guestbook/", form, strings.NewReader("name=J%C3%BCrgen&message=%3Cb%3Ehi")); res.StatusCode != 303 {
		t.Errorf("sign: %d", res.StatusCode)
	}
	if res, body := g.request("POST", "/guestbook/", form, strings.NewReader("name=&message=")); res.StatusCode != 422 || !strings.Contains(body, "say who you are") {
		t.Errorf("sign without a name: %d", res.StatusCode)
	}
	if _, body := g.get("/guestbook/"); !strings.Contains(body, "Jürgen") || !strings.Contains(body, "&lt;b&gt;hi") {
		t.Errorf("the entry is not there:\n%s", body)
	}
	sum := sha256.Sum256([]byte("inside"))
	multipart := "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f.txt\"\r\n\r\ninside\r\n--b--\r\n"
	if _, body := g.request("POST", "/cgi-bin/upload.py", "multipart/form-data; boundary=b", strings.NewReader(multipart)); !strings.Contains(body, hex.EncodeToString(sum[:])) {
		t.Errorf("upload:\n%s", body)
	}
}
