//go:build unix

package cgi

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// TestTheRootFollowsItsName: a root stays open, and another directory under its name counts from the next request on.
func TestTheRootFollowsItsName(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"v1/a.cgi": "one", "v2/a.cgi": "two"})
	link := filepath.Join(dir, "current")
	var r root
	read := func() (*os.Root, string) {
		t.Helper()
		opened, err := r.open(link)
		if err != nil {
			t.Fatal(err)
		}
		text, err := opened.ReadFile("a.cgi")
		if err != nil {
			t.Fatal(err)
		}
		return opened, string(text)
	}
	point := func(target string) {
		t.Helper()
		if err := os.Remove(link); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	point("v1")
	first, text := read()
	if again, _ := read(); again != first || text != "one" {
		t.Errorf("%q, opened anew: %v", text, again != first)
	}
	point("v2")
	if second, text := read(); second == first || text != "two" {
		t.Errorf("after the link was moved: %q, opened anew: %v", text, second != first)
	}
	before, _ := read()
	if err := os.Chmod(filepath.Join(dir, "v2"), 0o711); err != nil {
		t.Fatal(err)
	}
	if after, _ := read(); after == before {
		t.Error("not opened anew after its mode was changed")
	}
	if err := os.Remove(link); err != nil {
		t.Fatal(err)
	}
	if _, err := r.open(link); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a link: %v", err)
	}
}
