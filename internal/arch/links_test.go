package arch

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	markdownLink = regexp.MustCompile(`\]\(([^)\s]+)[^)]*\)`)
	fencedBlock  = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	heading      = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	linkText     = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	noAnchor     = regexp.MustCompile(`[^\p{L}\p{N}\p{M} _-]`)
)

// anchors returns the names of a page's headings, as GitHub makes them.
func anchors(page string) map[string]bool {
	names := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(fencedBlock.ReplaceAllString(page, ""), -1) {
		text := strings.ToLower(linkText.ReplaceAllString(m[1], "$1"))
		name := strings.ReplaceAll(noAnchor.ReplaceAllString(strings.TrimSpace(text), ""), " ", "-")
		for n, free := 1, name; ; n++ {
			if !names[free] {
				names[free] = true
				break
			}
			free = fmt.Sprintf("%s-%d", name, n)
		}
	}
	return names
}

// Every relative link in a Markdown page leads to a file and, behind a #, to a heading that is there.
func TestLinksResolve(t *testing.T) {
	pages := map[string]string{}
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == "node_modules": // of "make docs"
			return fs.SkipDir
		case entry.IsDir() || filepath.Ext(path) != ".md":
			return nil
		}
		text, err := os.ReadFile(path)
		pages[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	links := 0
	for path, text := range pages {
		for _, m := range markdownLink.FindAllStringSubmatch(fencedBlock.ReplaceAllString(text, ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			links++
			file, anchor, _ := strings.Cut(m[1], "#")
			target := path
			if file != "" {
				target = filepath.Join(filepath.Dir(path), file)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s: %v", path, err)
			} else if to, isPage := pages[target]; isPage && anchor != "" && !anchors(to)[anchor] {
				t.Errorf("%s: %s has no heading #%s", path, target, anchor)
			}
		}
	}
	if links < 500 {
		t.Errorf("only %d links were found", links)
	}
}
