package e2e

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// A static site of 5,000 files is mirrored by wget, and the copy is the same byte for byte.
func TestAStaticSiteIsMirrored(t *testing.T) {
	wget := testkit.Tool(t, "wget", "wget")
	files := map[string]string{}
	names := []string{"plain.txt", "with space.txt", "ümlaut.html", "dollar$.css", "a+b.js", "semi;colon.svg", "UPPER.TXT", "amp&ersand.xml", "tilde~.json", "no-extension"}
	for dir := range 100 {
		var page strings.Builder
		page.WriteString("<!doctype html><meta charset=utf-8>")
		for i := range 49 {
			name := fmt.Sprintf("%02d-%s", i, names[i%len(names)])
			files[fmt.Sprintf("d%d/%s", dir, name)] = strings.Repeat(fmt.Sprintf("%d %s\n", dir, name), dir*i%97+1)
			fmt.Fprintf(&page, "<a href=%q>x</a>\n", url.PathEscape(name))
		}
		files[fmt.Sprintf("d%d/index.html", dir)] = page.String()
	}
	var index strings.Builder
	for dir := range 100 {
		fmt.Fprintf(&index, "<a href=\"d%d/\">x</a>\n", dir)
	}
	files["index.html"] = index.String()
	root := testkit.Tree(t, files)
	g := serve(t, "--no-access-log", root)
	mirror := t.TempDir()
	cmd := exec.Command(wget, "--mirror", "--quiet", "--no-host-directories", "--restrict-file-names=nocontrol", "--execute", "robots=off", "--directory-prefix", mirror, g.URL+"/")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("wget: %v\n%s", err, out)
	}
	compared := 0
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		want, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		got, err := os.ReadFile(filepath.Join(mirror, rel))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, want %d: %v", rel, len(got), len(want), err)
		}
		compared++
		return nil
	})
	if err != nil || compared != len(files) || compared < 5000 {
		t.Errorf("compared %d of %d files: %v", compared, len(files), err)
	}
}
