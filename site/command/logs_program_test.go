package command_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// The log file alone tells when a gateway began and ended, and which process it was.
func TestLogFileTellsOfStartAndEnd(t *testing.T) {
	for _, format := range []string{"text", "json"} {
		t.Run(format, func(t *testing.T) {
			dir := testkit.Tree(t, map[string]string{"page.txt": "hello"})
			g := start(t, dir, "-p", "0", "--log-file", "log", "--log-format", format, "-E", "production", ".")
			if code := g.Stop(syscall.SIGTERM); code != 0 {
				t.Errorf("exit code %d", code)
			}
			text, err := os.ReadFile(filepath.Join(dir, "log"))
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")
			first, last := lines[0], lines[len(lines)-1]
			for _, line := range lines { // root is told something before
				if strings.Contains(line, "serving") {
					first = line
				}
			}
			pid := fmt.Sprintf("pid=%d", g.Process.Pid)
			if format == "json" {
				pid = fmt.Sprintf(`"pid":%d`, g.Process.Pid)
			}
			for _, want := range []string{"serving", pid, "version", "production", g.URL} {
				if !strings.Contains(first, want) {
					t.Errorf("%q is missing in %s", want, first)
				}
			}
			for _, want := range []string{"stopped", pid, "version"} {
				if !strings.Contains(last, want) {
					t.Errorf("%q is missing in %s", want, last)
				}
			}
			if log := g.Log.String(); !strings.Contains(log, "Serving at") || !strings.Contains(log, "Stopped.") {
				t.Errorf("standard error: %q", log)
			}
		})
	}
}
