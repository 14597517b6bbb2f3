package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// TestGuide does what the chapters of the guide tell their reader to do. The first page makes a Go
// module. Each chapter has a directory of its own in it.
func TestGuide(t *testing.T) {
	testkit.Tool(t, "go", "golang-go")
	testkit.Tool(t, "curl", "curl")
	pages, err := filepath.Glob(filepath.Join(root, "docs/guide/[0-9]*.md"))
	if err != nil || len(pages) < 12 {
		t.Fatal(pages, err)
	}
	dir := t.TempDir()
	newReader(t, dir).read(filepath.Join(root, "docs/guide/README.md"), 2)
	for _, page := range pages {
		t.Run(filepath.Base(page), func(t *testing.T) {
			t.Parallel()
			r := newReader(t, dir)
			// Without debugging information a program is linked in half the time. A flag that changes how packages are
			// compiled, as -trimpath does, would have all of them compiled once more.
			r.env = []string{"GOFLAGS=" + os.Getenv("GOFLAGS") + " -ldflags=-w"}
			r.read(page, 2)
		})
	}
}

// Every chapter leads to the next one, and the first page to all of them.
func TestChaptersOfTheGuideAreLinked(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(root, "docs/guide/[0-9]*.md"))
	if err != nil {
		t.Fatal(err)
	}
	index := readPage(t, filepath.Join(root, "docs/guide/README.md"))
	for i, page := range pages {
		link := "(" + filepath.Base(page) + ")"
		if !strings.Contains(index, link) {
			t.Errorf("the first page has no link to %s", link)
		}
		if i > 0 && !strings.Contains(readPage(t, pages[i-1]), link) {
			t.Errorf("%s has no link to the next chapter", pages[i-1])
		}
	}
}

func readPage(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
