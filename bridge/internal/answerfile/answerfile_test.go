package answerfile

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
)

// refTo returns what a worker says of a file that it has open.
func refTo(t *testing.T, path string) wire.FileRef {
	t.Helper()
	var stat syscall.Stat_t
	if err := syscall.Stat(path, &stat); err != nil {
		t.Fatal(err)
	}
	return wire.FileRef{Length: stat.Size, Device: uint64(stat.Dev), Inode: stat.Ino, Path: path}
}

func TestOpen(t *testing.T) {
	dir := t.TempDir()
	path, fifo := filepath.Join(dir, "file"), filepath.Join(dir, "fifo")
	if err := os.WriteFile(path, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	ref := refTo(t, path)
	f, err := Open(ref)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if b, err := io.ReadAll(f); string(b) != "content" || err != nil {
		t.Errorf("%q %v", b, err)
	}
	other, longer, missing := ref, ref, ref
	other.Inode++
	longer.Offset = 1
	missing.Path += ".none"
	for want, ref := range map[string]wire.FileRef{
		"was replaced": other, "became shorter": longer, "no such file": missing, "no regular file": refTo(t, fifo),
	} {
		if f, err := Open(ref); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v %v, want %s", f, err, want)
		}
	}
}
