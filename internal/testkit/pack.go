package testkit

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// Pack builds a package of a program by packaging/build and returns its file. top is the top of the repository, format is deb or rpm.
// The test is skipped where the program that packs cannot be had.
func Pack(t testing.TB, top, program, format string) string {
	t.Helper()
	makefile, err := os.ReadFile(filepath.Join(top, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	nfpm := regexp.MustCompile(`(?m)^NFPM = (\S+)$`).FindSubmatch(makefile)
	if nfpm == nil {
		t.Fatal("the Makefile names no NFPM")
	}
	if out, err := exec.Command("go", "run", string(nfpm[1]), "--version").CombinedOutput(); err != nil {
		t.Skipf("%s cannot be fetched or built: %v\n%s", nfpm[1], err, out)
	}
	dir := t.TempDir()
	cmd := exec.Command(filepath.Join(top, "packaging/build"), format)
	cmd.Env = append(os.Environ(), "PROGRAM="+program, "TARGET="+dir, "COMPRESSION=gzip", "NFPM="+string(nfpm[1]))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("packaging/build: %v\n%s", err, out)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*."+format))
	if err != nil || len(files) != 1 {
		t.Fatalf("%q, %v", files, err)
	}
	return files[0]
}
