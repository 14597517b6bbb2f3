package e2e

import (
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// apacheMain is the configuration around the snippets of the packages, with the modules that they need.
const apacheMain = `
ServerName localhost
DefaultRuntimeDir DIR
PidFile DIR/apache.pid
ErrorLog DIR/apache.log
Listen 127.0.0.1:PORT
IncludeOptional DIR/conf/*.conf
`

var apacheModules = []string{"mpm_event", "authz_core", "authz_host", "authn_core", "authn_file", "authz_user", "auth_basic", "alias", "dir", "mime", "env", "setenvif", "rewrite", "cgid"}

// importedPackage is a CGI application of Debian, with the directives of the package's own snippet for Apache.
type importedPackage struct {
	name, script string // the script is missing where the package is not installed
	snippet      string
	files        map[string]string
	paths        []string
	contains     string // of the first path's page
}

var importedPackages = []importedPackage{
	{
		name: "cgit", script: "/usr/lib/cgit/cgit.cgi",
		snippet: `
ScriptAlias /cgit/ "/usr/lib/cgit/cgit.cgi/"
RedirectMatch ^/cgit$ /cgit/
Alias /cgit-css "/usr/share/cgit/"
<Directory "/usr/lib/cgit/">
   AllowOverride None
   Options ExecCGI FollowSymlinks
   Require all granted
</Directory>
<Directory "/usr/share/cgit/">
   Require all granted
</Directory>
SetEnv CGIT_CONFIG DIR/cgitrc
`,
		files:    map[string]string{"cgitrc": "virtual-root=/cgit/\ncss=/cgit-css/cgit.css\nrepo.url=house\nrepo.path=DIR/house/.git\n"},
		paths:    []string{"/cgit/", "/cgit", "/cgit/house/", "/cgit/house/tree/README", "/cgit/none/", "/cgit-css/cgit.css", "/cgit-css/none.css"},
		contains: "house",
	},
	{
		name: "gitweb", script: "/usr/share/gitweb/gitweb.cgi",
		snippet: `
Alias /gitweb /usr/share/gitweb
<Directory /usr/share/gitweb>
  Options +FollowSymLinks +ExecCGI
  AddHandler cgi-script .cgi
  DirectoryIndex index.cgi
  Require all granted
</Directory>
SetEnv GITWEB_CONFIG DIR/gitweb.conf
SetEnv GIT_CONFIG_COUNT 1
SetEnv GIT_CONFIG_KEY_0 safe.directory
SetEnv GIT_CONFIG_VALUE_0 *
`,
		files:    map[string]string{"gitweb.conf": "$projectroot = 'DIR'; $projects_list = 'DIR/list'; 1;\n", "list": "house/.git\n"},
		paths:    []string{"/gitweb/", "/gitweb", "/gitweb/?p=house/.git;a=summary", "/gitweb/index.cgi?p=none", "/gitweb/static/gitweb.css", "/gitweb/none"},
		contains: "house",
	},
	{
		name: "awstats", script: "/usr/lib/cgi-bin/awstats.pl",
		snippet: `
Alias /awstats-icon/ /usr/share/awstats/icon/
<Directory /usr/share/awstats/icon>
	Options None
	AllowOverride None
	Require all granted
</Directory>
ScriptAlias /cgi-bin/ /usr/lib/cgi-bin/
<Directory /usr/lib/cgi-bin>
	Require all granted
</Directory>
SetEnv AWSTATS_ENABLE_CONFIG_DIR DIR
`,
		files: map[string]string{
			"awstats.house.conf": "LogFile=\"DIR/access.log\"\nLogFormat=1\nSiteDomain=\"house.example\"\nDirData=\"DIR\"\nDirIcons=\"/awstats-icon\"\nHostAliases=\"localhost\"\nAllowToUpdateStatsFromBrowser=0\n",
			"access.log":         "",
		},
		paths:    []string{"/cgi-bin/awstats.pl?config=house&configdir=DIR", "/cgi-bin/none.pl", "/awstats-icon/other/awstats_logo6.png", "/awstats-icon/none.png"},
		contains: "house.example",
	},
	{
		name: "smokeping", script: smokepingCGI,
		snippet: `
ScriptAlias /smokeping/smokeping.cgi DIR/smokeping.cgi
Alias /smokeping /usr/share/smokeping/www
<Directory DIR>
    Require all granted
</Directory>
<Directory "/usr/share/smokeping/www">
    Options FollowSymLinks
    DirectoryIndex smokeping.cgi
    Require all granted
</Directory>
<Directory "/usr/share/smokeping/www/css">
    AuthType Basic
    AuthName "Network"
    AuthUserFile DIR/htpasswd
    <RequireAll>
        Require local
        Require valid-user
    </RequireAll>
</Directory>
`,
		files: map[string]string{
			"smokeping.cgi": smokepingFiles["smokeping.cgi"], "fping": smokepingFiles["fping"], "config": smokepingFiles["config"],
			"data/none": "", "images/none": "", "htpasswd": "ann:$2a$05$ta1.JG5s.oTgVfoFBcfk2OP.jjHGqAOBDyNHUBX89lLILfPYa8g5q\n",
		},
		paths:    []string{"/smokeping/smokeping.cgi", "/smokeping/", "/smokeping/css/smokeping-screen.css", "/smokeping/css/none", "/smokeping/js/smokeping.js", "/smokeping/none"},
		contains: "The network of the test",
	},
}

// Apache serves each package by the directives of its snippet, and pagi-bridge by the site file that import
// makes of the same configuration. They must answer alike.
func TestImportedSitesAnswerAsApache(t *testing.T) {
	apache := testkit.Tool(t, "apache2", "apache2-bin")
	for _, p := range importedPackages {
		t.Run(p.name, func(t *testing.T) {
			if _, err := os.Stat(p.script); err != nil {
				t.Skipf("%s is not installed (apt-get install %s): %v", p.name, p.name, err)
			}
			p.compare(t, apache)
		})
	}
}

func (p *importedPackage) compare(t *testing.T, apache string) {
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // Apache's user must get there
		t.Fatal(err)
	}
	write := func(name, text string) {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(placeOfTest.ReplaceAllLiteralString(text, dir)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range p.files {
		write(name, text)
	}
	for _, name := range []string{"data", "images"} { // the scripts write there, as users of their own
		if err := os.Chmod(filepath.Join(dir, name), 0o777); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
	write("house/README", "A house.\n")
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"add", "."}, {"-c", "user.name=Ann", "-c", "user.email=ann@example.org", "commit", "-qm", "Build"}} {
		git := testkit.Command(filepath.Join(dir, "house"), testkit.Tool(t, "git", "git"), args...)
		if out, err := git.CombinedOutput(); err != nil {
			t.Fatalf("git: %v\n%s", err, out)
		}
	}
	write("conf/"+p.name+".conf", p.snippet)
	theirs := startApache(t, apache, dir)

	out := filepath.Join(dir, "site.yaml")
	cmd := testkit.Command("", program, "import", filepath.Join(dir, "apache2.conf"), "-o", out)
	said, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("import: %v\n%s", err, said)
	}
	ours := testkit.Start(t, testkit.Command("", program, "-c", out, "-p", "0")).URL
	for i, path := range p.paths {
		path = placeOfTest.ReplaceAllLiteralString(path, dir)
		for _, password := range []string{"", "tea"} {
			want, got := look(t, theirs, path, password), look(t, ours, path, password)
			if want != got {
				t.Errorf("%s with the password %q:\nApache: %+v\nours: %+v", path, password, want, got)
			}
			if i == 0 && !strings.Contains(got.body, p.contains) {
				t.Errorf("%s: no %q in %+v", path, p.contains, got)
			}
		}
	}
}

// placeOfTest stands for the directory of the test. It is no part of AWSTATS_ENABLE_CONFIG_DIR.
var placeOfTest = regexp.MustCompile(`\bDIR\b`)

// answer is what two servers must agree in. Pages of errors are of their own.
type answer struct {
	status           int
	mediaType, where string
	login            string
	body             string
}

// changing is text of pages that differs from request to request, or from server to server.
var changing = regexp.MustCompile(`generated by .*|\d+(\.\d+)?\s*(seconds?|min|hours?)( ago)?|\d{2}:\d{2}(:\d{2})?|pagi-bridge/?\S*|Apache/\S+( \(\w+\))?|smokeping_\w+\.png|\d{10}`)

func look(t *testing.T, url, path, password string) answer {
	t.Helper()
	req := testkit.NewRequest(t, "GET", url+path, nil)
	if password != "" {
		req.SetBasicAuth("ann", password)
	}
	res, body := testkit.Do(t, &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}, req)
	a := answer{status: res.StatusCode}
	if where, err := res.Location(); err == nil {
		a.where = strings.TrimPrefix(where.String(), url)
	} else if !errors.Is(err, http.ErrNoLocation) {
		t.Errorf("%s%s: %v", url, path, err)
	}
	a.login, _, _ = strings.Cut(res.Header.Get("WWW-Authenticate"), ",")
	a.login = strings.ToLower(a.login)
	if res.StatusCode == http.StatusOK {
		mediaType, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
		if err != nil {
			t.Errorf("%s%s: Content-Type %q: %v", url, path, res.Header.Get("Content-Type"), err)
		}
		a.mediaType = mediaType
		host := strings.TrimPrefix(url, "http://")
		_, port, _ := net.SplitHostPort(host)
		a.body = changing.ReplaceAllString(strings.ReplaceAll(strings.ReplaceAll(body, host, "HOST"), port, "PORT"), "...")
	}
	return a
}

// startApache starts Apache with DIR/apache2.conf and returns its URL. Another process may take the free
// port first, so it tries some.
func startApache(t *testing.T, apache, dir string) string {
	t.Helper()
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := l.Addr().String()
		_, port, _ := net.SplitHostPort(address)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		main := strings.NewReplacer("DIR", dir, "PORT", port).Replace(apacheMain)
		var own strings.Builder
		for _, m := range apacheModules {
			fmt.Fprintf(&own, "LoadModule %s_module /usr/lib/apache2/modules/mod_%s.so\n", m, m)
		}
		fmt.Fprintf(&own, "ScriptSock %s/cgid.sock\nTypesConfig /etc/mime.types\n", dir)
		if os.Geteuid() == 0 {
			own.WriteString("User www-data\nGroup www-data\n")
		}
		for name, text := range map[string]string{"apache2.conf": main, "server.conf": own.String() + "Include " + dir + "/apache2.conf\n"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command(apache, "-d", dir, "-f", filepath.Join(dir, "server.conf"), "-D", "FOREGROUND")
		var said testkit.Log
		cmd.Stdout, cmd.Stderr = &said, &said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			_ = cmd.Wait() // its exit code does not matter
			close(ended)
		}()
		t.Cleanup(func() {
			_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
			testkit.Await(t, ended)
		})
		up := false
		testkit.Eventually(t, "Apache listens, or has ended", func() bool {
			select {
			case <-ended:
				return true
			default:
			}
			conn, err := net.Dial("tcp", address)
			if err == nil {
				up = true
				_ = conn.Close() // nothing was written
			}
			return up
		})
		if up {
			return "http://" + address
		}
		t.Logf("Apache has ended: %s", said.String())
	}
	t.Fatal("Apache does not start")
	return ""
}
