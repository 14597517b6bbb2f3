package site_test

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/site"
)

// TestTheExamplesOfMiddlewareCanBeRead reads the example of each middleware that has one as a site
// file. It does not build the site, because files that an example names need not be there.
func TestTheExamplesOfMiddlewareCanBeRead(t *testing.T) {
	read := 0
	for heading, section := range page(t) {
		if !slices.Contains(parts.MiddlewareNames(), heading) || !strings.Contains(section, "```yaml\nmiddleware:") {
			continue
		}
		text := block(t, section, 0)
		for _, m := range regexp.MustCompile(`\$\{(\w+)\}`).FindAllStringSubmatch(text, -1) {
			t.Setenv(m[1], "set")
		}
		if !strings.Contains(text, "\nmounts:") {
			text += "\nmounts:\n  - path: /\n    redirect: /x\n"
		}
		dir := testkit.Tree(t, map[string]string{"site.yaml": text})
		if _, err := site.Load(filepath.Join(dir, "site.yaml")); err != nil {
			t.Errorf("%s: %v", heading, err)
		}
		read++
	}
	if read < 4 {
		t.Errorf("only %d examples were found", read)
	}
}
