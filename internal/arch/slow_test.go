package arch

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var testFunction = regexp.MustCompile(`(?m)^func (Test\w+)\(`)

// Every test that scripts/slow-tests leaves out of "make quick" exists, and the list is sorted.
func TestSlowTestsExist(t *testing.T) {
	list, err := os.ReadFile("../../scripts/slow-tests")
	if err != nil {
		t.Fatal(err)
	}
	slow := strings.Fields(string(list))
	if !slices.IsSorted(slow) {
		t.Error("scripts/slow-tests is not sorted")
	}
	exists := map[string]bool{}
	err = filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range testFunction.FindAllSubmatch(text, -1) {
			exists[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range slow {
		if !exists[name] {
			t.Errorf("scripts/slow-tests has %s, which does not exist", name)
		}
	}
}
