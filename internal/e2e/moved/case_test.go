// Package moved_test compares what other servers answer with what pagi-bridge answers by the site file that import makes of
// their configurations.
//
// Each case is an archive in testdata. The names of its files say what they are:
//
//	apache.conf    what Apache serves by
//	site.nginx     server blocks for nginx
//	app.ini        for uWSGI; the original server if there is neither apache.conf nor site.nginx, else one behind it
//	start.sh       a command line that starts an application; the original server, or one behind it, in the same way
//	Procfile       as start.sh
//	app.service    as start.sh
//	backend.sh     a command line that starts a server behind both, at BACKEND; import does not read it
//	requests       one request a line, see parseRequest
//	left out       what the notes of import say, a part of a note a line; without it import must carry over all
//	differs        requests whose answers differ, as in requests, and why
//	needs          programs (name package), Perl modules (Name::Space package) and files (/path package)
//
// All other files are written to the directory of the case; one whose text is @NAME is testdata/common/NAME, @CERT and @KEY are a certificate
// and its key. In all files DIR is
// that directory, PORT and TLSPORT are ports that the original server and then pagi-bridge listen at, and BACKEND is the port
// of an application behind it.
package moved_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// movedCase is a configuration of another server, in a directory with the files that it serves.
type movedCase struct {
	dir          string
	port, tls    string
	backend      string
	configs      []string // names of the files that import reads, the original server's first
	requests     []request
	leftOut      []string
	differs      map[string]string // reasons by the text of requests
	needs        []string
	placeholders *strings.Replacer
}

// configNames are the files that import reads.
var configNames = []string{"apache.conf", "site.nginx", "app.ini", "start.sh", "Procfile", "app.service"}

var modeLine = regexp.MustCompile(`\.(cgi|pl|sh|fcgi)$|/cgi/[\w-]+$`)

// readCase writes the files of an archive to a directory.
func readCase(t *testing.T, file string) *movedCase {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o755); err != nil { // the user of Apache's children must get there
			t.Fatal(err)
		}
	}
	ports := freePorts(t, 3)
	c := &movedCase{dir: dir, backend: ports[2], port: ports[0], tls: ports[1], differs: map[string]string{}}
	c.placeholders = strings.NewReplacer("DIR", dir, "TLSPORT", ports[1], "PORT", ports[0], "BACKEND", ports[2])
	pair := testkit.Certificate(t)
	for _, f := range archive.Files {
		text := string(f.Data)
		if name, is := strings.CutPrefix(strings.TrimSpace(text), "@"); is {
			from := filepath.Join("testdata/common", name)
			switch name {
			case "CERT":
				from = pair.CertFile
			case "KEY":
				from = pair.KeyFile
			}
			common, err := os.ReadFile(from)
			if err != nil {
				t.Fatal(err)
			}
			text = string(common)
		}
		text = placeholder.ReplaceAllStringFunc(text, func(word string) string {
			if word[0] == '$' { // a variable of a shell
				return word
			}
			return c.placeholders.Replace(word)
		})
		lines := linesOf(text)
		switch f.Name {
		case "requests":
			for _, line := range lines {
				c.requests = append(c.requests, parseRequest(t, line))
			}
		case "left out":
			c.leftOut = lines
		case "needs":
			c.needs = lines
		case "differs":
			for _, line := range lines {
				request, why, ok := strings.Cut(line, "  because ")
				if !ok {
					t.Fatalf("differs: %q has no reason", line)
				}
				c.differs[request] = why
			}
		default:
			c.write(t, f.Name, text)
		}
	}
	for _, name := range configNames {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			c.configs = append(c.configs, name)
		}
	}
	if len(c.configs) == 0 || len(c.requests) == 0 {
		t.Fatal("the case has no configuration, or no requests")
	}
	return c
}

var placeholder = regexp.MustCompile(`\$?\b(DIR|TLSPORT|PORT|BACKEND)\b`)

func linesOf(text string) (lines []string) {
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// write writes a file. A script can be executed; a name that ends with a slash is a directory in which all users may write.
func (c *movedCase) write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(c.dir, name)
	if strings.HasSuffix(name, "/") {
		if err := os.MkdirAll(path, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0o777); err != nil {
			t.Fatal(err)
		}
		return
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	mode := os.FileMode(0o644)
	if modeLine.MatchString(name) {
		mode = 0o755
	}
	err := os.WriteFile(path, []byte(text), mode)
	if err == nil {
		err = os.Chtimes(path, written, written)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// written is the time of all files. A later Last-Modified is that of a page that a script has just made.
var written = time.Date(2020, time.May, 4, 12, 0, 0, 0, time.UTC)

// check skips the test when something is missing that the case needs.
func (c *movedCase) check(t *testing.T) {
	t.Helper()
	for _, need := range c.needs {
		name, debian, _ := strings.Cut(need, " ")
		switch {
		case strings.HasPrefix(name, "/"):
			if _, err := os.Stat(name); err != nil {
				t.Skipf("%s is not installed (apt-get install %s)", name, debian)
			}
		case strings.Contains(name, "::"):
			if err := testkit.Command("", testkit.Tool(t, "perl", "perl"), "-M"+name, "-e", "1").Run(); err != nil {
				t.Skipf("the Perl module %s is not installed (apt-get install %s)", name, debian)
			}
		default:
			testkit.Tool(t, name, debian)
		}
	}
}

// freePorts returns ports of the loopback that were free a moment ago.
func freePorts(t *testing.T, n int) (ports []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		}()
		ports = append(ports, fmt.Sprint(l.Addr().(*net.TCPAddr).Port))
	}
	return ports
}
