package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// TestMigrationPages does what the pages on moving from other servers tell their reader to do. docs/README.md describes how a page is written
// for that.
func TestMigrationPages(t *testing.T) {
	for _, tool := range []string{"perl", "curl", "starman"} {
		testkit.Tool(t, tool, tool)
	}
	pages, err := filepath.Glob(filepath.Join(root, "docs/migrate/*.md"))
	if err != nil || len(pages) < 7 {
		t.Fatal(pages, err)
	}
	deploy := filepath.Join(root, "docs/deploy.md")
	for _, page := range append(pages, deploy) {
		t.Run(filepath.Base(page), func(t *testing.T) {
			var env []string
			if page == deploy {
				testkit.Tool(t, "carton", "carton")
				testkit.Tool(t, "make", "make")
				// The modules come from a mirror of the test, and what carton notes does not come into the user's home.
				env = []string{"PERL_CARTON_MIRROR=file://" + cpan(t), "HOME=" + t.TempDir()}
			}
			dir, err := os.MkdirTemp("", "m") // a short name, because long lines of a site file are broken
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := os.RemoveAll(dir); err != nil {
					t.Error(err)
				}
			})
			r := newReader(t, dir)
			r.env = env
			r.read(page, 3)
		})
	}
}
