//go:build unix

package cgi

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/proc"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// languages are the ways to write a CGI program that are tried: a program of
// testdata/languages each, what it needs, the Debian package that has it and, where
// it must be compiled, how.
var languages = map[string]struct {
	source, tool, debian string
	compile              []string
}{
	"sh":                 {"echo.sh", "sh", "dash", nil},
	"Perl":               {"echo.pl", "perl", "perl", nil},
	"Python":             {"echo.py", "python3", "python3", nil},
	"Node":               {"echo.js", "node", "nodejs", nil},
	"C":                  {"echo.c", "cc", "gcc", []string{"cc", "-o"}},
	"Go, a static build": {"echo/main.go", "go", "golang", []string{"go", "build", "-o"}},
}

func TestProgramsInManyLanguages(t *testing.T) {
	binary := strings.Repeat("\x00\xff\r\nbody\n\x1a", 20_000)
	for name, language := range languages {
		t.Run(name, func(t *testing.T) {
			testkit.Tool(t, language.tool, language.debian)
			program, err := filepath.Abs("testdata/languages/" + language.source)
			if err != nil {
				t.Fatal(err)
			}
			if language.compile != nil {
				compiled := filepath.Join(t.TempDir(), "echo.cgi")
				cmd := exec.Command(language.compile[0], append(language.compile[1:], compiled, program)...)
				cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
				program = compiled
			}
			ways := []CGI{{}, {BodyBuffer: -1}, {BufferOutput: new(true)}}
			if proc.LimitsWork {
				ways = append(ways, CGI{Memory: 1 << 30, OpenFiles: 200})
			}
			for _, options := range ways {
				options.Script = program
				application := build(t, options)
				for _, body := range []string{"x", binary} {
					res := do(t, application, ask{method: "POST", target: "/a%20b?c=%20d", body: body})
					want := "POST|c=%20d|/a b|" + strconv.Itoa(len(body)) + "\n" + body
					if res.err != nil || res.status != 222 || res.body != want {
						t.Errorf("%d bytes: %d, %.60q, %d bytes, %v", len(body), res.status, res.body, len(res.body), res.err)
					}
				}
			}
		})
	}
}
