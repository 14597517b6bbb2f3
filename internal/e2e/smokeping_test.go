package e2e

import (
	"bytes"
	"image/png"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// smokepingCGI is the script of Debian's package. The script in /usr/lib/cgi-bin names the system's
// configuration and calls this one, and the test's does so with its own.
const smokepingCGI = "/usr/share/smokeping/smokeping.cgi"

// smokepingFiles are a configuration, a program in the place of fping, and a site with a login. DIR is
// the directory of the test. The password of ann is "tea".
var smokepingFiles = map[string]string{
	"smokeping.cgi": "#!/bin/sh\nexec " + smokepingCGI + " DIR/config\n",
	"fping": `#!/bin/sh
# Says what fping says of the last host. It sends nothing, so it needs no rights.
for word; do last=$word; done
echo "$last : 1.10 1.20 1.30 1.40 1.50" >&2
`,
	"config": `
*** General ***
owner = Ann
contact = ann@example.org
mailhost = localhost
sendmail = /bin/false
cgiurl = http://localhost/smokeping/smokeping.cgi
imgcache = DIR/images
imgurl = /smokeping/images
datadir = DIR/data
dyndir = DIR/data
piddir = DIR/data
smokemail = /etc/smokeping/smokemail
tmail = /etc/smokeping/tmail

*** Database ***
step = 300
pings = 5
AVERAGE 0.5 1 1008

*** Presentation ***
template = /etc/smokeping/basepage.html
charset = utf-8
+ overview
width = 600
height = 50
range = 10h
+ detail
width = 600
height = 200
unison_tolerance = 2
"Last 3 Hours" 3h

*** Probes ***
+ FPing
binary = DIR/fping

*** Targets ***
probe = FPing
menu = Top
title = The network of the test
+ Local
menu = Local
title = Local
++ Machine
menu = Machine
title = The test's own machine
host = 127.0.0.1
`,
	"site.yaml": `
listen: ["127.0.0.1:0"]
middleware:
  - basic_auth:
      users: {ann: $2a$05$ta1.JG5s.oTgVfoFBcfk2OP.jjHGqAOBDyNHUBX89lLILfPYa8g5q}
mounts:
  - path: /smokeping/smokeping.cgi
    cgi: smokeping.cgi
  - path: /smokeping/images
    file: images
  - path: /smokeping
    file: /usr/share/smokeping/www
    follow_symlinks: true
`,
}

// Debian's smokeping writes its graphs into a directory, which is served beside the script. A login is
// around both.
func TestSmokeping(t *testing.T) {
	daemon := testkit.Tool(t, "smokeping", "smokeping")
	if _, err := os.Stat(smokepingCGI); err != nil {
		t.Skipf("smokeping is not installed as in Debian: %v", err)
	}
	dir := t.TempDir()
	for name, text := range smokepingFiles {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(strings.ReplaceAll(text, "DIR", dir)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"images", "data"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// With --debug it asks each host once, writes the databases and ends.
	if out, err := testkit.Command(dir, daemon, "--config="+filepath.Join(dir, "config"), "--debug").CombinedOutput(); err != nil {
		t.Fatalf("smokeping: %v\n%s", err, out)
	}
	p := testkit.Start(t, testkit.Command("", program, "-c", filepath.Join(dir, "site.yaml")))
	get := func(path, password string) (*http.Response, string) {
		t.Helper()
		req := testkit.NewRequest(t, "GET", p.URL+path, nil)
		if password != "" {
			req.SetBasicAuth("ann", password)
		}
		return testkit.Do(t, client, req)
	}

	const page = "/smokeping/smokeping.cgi?target=Local.Machine"
	for what, path := range map[string]string{"the page": page, "a style sheet": "/smokeping/css/smokeping-screen.css", "a directory of graphs": "/smokeping/images/Local/"} {
		for _, password := range []string{"", "coffee"} {
			if res, _ := get(path, password); res.StatusCode != 401 || !strings.HasPrefix(res.Header.Get("WWW-Authenticate"), "Basic ") {
				t.Errorf("%s with the password %q: %d %v", what, password, res.StatusCode, res.Header)
			}
		}
	}

	begin := time.Now()
	res, body := get(page, "tea")
	if res.StatusCode != 200 || !strings.Contains(body, "The test's own machine") {
		t.Fatalf("%d\n%s", res.StatusCode, body)
	}
	graph := regexp.MustCompile(`(?i)<img[^>]*src="(/smokeping/images/Local/[^"]+\.png)"`).FindStringSubmatch(body)
	if graph == nil {
		t.Fatalf("no graph in\n%s", body)
	}
	if res, _ := get(graph[1], ""); res.StatusCode != 401 {
		t.Errorf("a graph without a login: %d", res.StatusCode)
	}
	res, body = get(graph[1], "tea")
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "image/png" {
		t.Fatalf("%s: %d %v", graph[1], res.StatusCode, res.Header)
	}
	picture, err := png.Decode(bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatalf("%s: %v", graph[1], err)
	}
	// The plot has 600 by 200 pixels, and axes and a legend around it.
	if size := picture.Bounds().Size(); size.X < 600 || size.X > 1200 || size.Y < 200 || size.Y > 800 {
		t.Errorf("the graph has %v pixels", size)
	}
	if written, err := http.ParseTime(res.Header.Get("Last-Modified")); err != nil || written.Before(begin.Add(-time.Minute)) {
		t.Errorf("the graph is from %v, %v", written, err)
	}
	if res, _ := get("/smokeping/css/smokeping-screen.css", "tea"); res.StatusCode != 200 {
		t.Errorf("a style sheet: %d", res.StatusCode)
	}
}
