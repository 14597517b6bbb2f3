package arch

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every decision is listed in docs/decisions/README.md, with its title.
func TestDecisionsAreListed(t *testing.T) {
	const dir = "../../docs/decisions"
	list, err := os.ReadFile(filepath.Join(dir, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob(filepath.Join(dir, "0*.md"))
	if err != nil || len(pages) == 0 {
		t.Fatal(pages, err)
	}
	title := regexp.MustCompile(`^# (\d+)\. (.+)\n`)
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		parts := title.FindSubmatch(text)
		if parts == nil {
			t.Errorf("%s does not begin with a title like \"# 7. What was decided\"", page)
			continue
		}
		if line := fmt.Sprintf("- [%s](%s): %s\n", parts[1], filepath.Base(page), parts[2]); !strings.Contains(string(list), line) {
			t.Errorf("docs/decisions/README.md lacks the line\n%s", line)
		}
	}
}
