package main

import (
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

func TestAProblemOfAnotherSystemIsFound(t *testing.T) {
	t.Chdir(testkit.Tree(t, map[string]string{
		"go.mod":           "module example.org/m\n\ngo 1.26\n",
		"all.go":           "package m\n\nvar size int = 1 << 30\n",
		"m_darwin.go":      "package m\n\nvar x int = \"text\"\n",
		"m_linux_test.go":  "package m\n\nvar y = missing\n",
		"m_windows.go":     "package m\n\nimport \"example.org/m/none\"\n\nvar _ = none.X\n",
		"m_freebsd.go":     "package m\n\nvar big int = 1 << 40\n",
		"m_linux_arm64.go": "package m\n",
	}))
	for platform, want := range map[string]string{
		"darwin/arm64":  "x int = \"text\"",
		"linux/arm64":   "undefined: missing",
		"windows/amd64": "example.org/m/none",
		"freebsd/386":   "overflows",
		"freebsd/amd64": "",
	} {
		system, processor, _ := strings.Cut(platform, "/")
		problems, err := check(system, processor)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(problems, "\n")
		if want == "" && got != "" || want != "" && len(problems) == 0 {
			t.Errorf("%s: %q, want %q", platform, got, want)
		}
	}
}
