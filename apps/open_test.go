package apps

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/httpfile"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// TestOpenIsTheSameInOneStepAndInMany compares the two ways to open a file: which files are served
// must not depend on the kernel.
func TestOpenIsTheSameInOneStepAndInMany(t *testing.T) {
	outside := testkit.Tree(t, map[string]string{"secret": "secret"})
	dir := testkit.Tree(t, map[string]string{
		"plain": "content", "sub/deep/plain": "deeper", "inner": "-> sub/deep/plain", "sub/up": "-> ../plain", "subdir": "-> sub/deep",
		"absolute": "-> " + filepath.Join(outside, "secret"), "away": "-> " + outside, "climb": "-> ../../../etc/passwd", "loop": "-> loop",
		"dangling": "-> nothing",
	})
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Skip("named pipes cannot be made here: ", err)
	}
	var r root
	opened, err := r.open(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, way := range []struct {
		name string
		open func(string) (*httpfile.File, error)
	}{{"in one step", opened.open}, {"in many", opened.openSlowly}} {
		t.Run(way.name, func(t *testing.T) {
			for name, content := range map[string]string{"plain": "content", "sub/deep/plain": "deeper", "inner": "deeper", "sub/up": "content", "subdir/plain": "deeper"} {
				f, err := way.open(name)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
				got, err := io.ReadAll(io.NewSectionReader(f, 0, 100))
				if string(got) != content || err != nil || !f.Regular || f.Dir || f.Size != int64(len(content)) || f.Modified.IsZero() || f.Name != name {
					t.Errorf("%s: %q, %v, %+v", name, got, err, f)
				}
				if handle, err := io.ReadAll(f.Handle()); string(handle) != content || err != nil {
					t.Errorf("%s: its handle reads %q, %v", name, handle, err)
				}
				if n, err := f.ReadAt(make([]byte, 3), 2); n != 3 || err != nil {
					t.Errorf("%s: beside its handle: %d, %v", name, n, err)
				}
				if err := f.Close(); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if _, err := f.Handle().Read(make([]byte, 1)); !errors.Is(err, fs.ErrClosed) {
					t.Errorf("%s: still open: %v", name, err)
				}
			}
			for name, want := range map[string]string{".": "dir", "sub": "dir", "subdir": "dir", "pipe": "other"} {
				f, err := way.open(name)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
				if f.Regular || f.Dir != (want == "dir") {
					t.Errorf("%s: %+v", name, f)
				}
				if err := f.Close(); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			for name, status := range map[string]int{
				"absent": 404, "dangling": 404, "plain/x": 404, "absent/x": 404, strings.Repeat("n", 300): 404,
				"absolute": 403, "away/secret": 403, "climb": 403, "loop": 403,
			} {
				if f, err := way.open(name); err == nil || statusOf(err) != status {
					t.Errorf("%.20s: %v, %v, want %d", name, f, err, status)
				}
			}
		})
	}
	runtime.KeepAlive(opened)
}

// TestShortenedFileIsAnError: the content-length that was sent, or will be, is that of the longer
// file.
func TestShortenedFileIsAnError(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{"f": "content"})
	var r root
	opened, err := r.open(dir)
	if err != nil {
		t.Fatal(err)
	}
	f, err := opened.open("f")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if n, err := f.ReadAt(make([]byte, 10), 3); n != 4 || err != io.EOF {
		t.Errorf("%d, %v", n, err)
	}
}
