package command

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/site"
)

// slowFile is a log that is slow to open again.
type slowFile struct {
	io.Writer
	opening, closed chan struct{}
	t               *testing.T
}

func (f *slowFile) Reopen() error {
	close(f.opening)
	select {
	case <-f.closed:
		f.t.Error("it is closed while it is opened again")
	case <-time.After(100 * time.Millisecond):
	}
	return nil
}

func (f *slowFile) Close() error {
	close(f.closed)
	return nil
}

func TestALogIsNotClosedWhileItIsOpenedAgain(t *testing.T) {
	f := &slowFile{io.Discard, make(chan struct{}), make(chan struct{}), t}
	l := &logs{logger: slog.New(slog.DiscardHandler), access: newOpenLog(f)}
	reopened := make(chan struct{})
	go func() {
		defer close(reopened)
		l.reopen()
	}()
	<-f.opening
	(&accessChange{logs: l}).commit()
	<-reopened
	<-f.closed
}

// TestTwoProcessesWriteToARotatedLog: during a restart no line is written over.
func TestTwoProcessesWriteToARotatedLog(t *testing.T) {
	name := filepath.Join(t.TempDir(), "access")
	open := func() *logs {
		file, err := openAccessLog(name, &site.Logs{AccessLogMaxSize: 1 << 20, AccessLogBackups: 5}, nil)
		if err != nil {
			t.Fatal(err)
		}
		l := &logs{logger: slog.New(slog.NewTextHandler(t.Output(), nil)), access: newOpenLog(file)}
		t.Cleanup(func() {
			if err := l.close(); err != nil {
				t.Error(err)
			}
		})
		return l
	}
	write := func(l *logs, line string) {
		t.Helper()
		if _, err := io.WriteString(l.access.lines, line+"\n"); err != nil {
			t.Fatal(err)
		}
		if !l.access.lines.Flush(testkit.Patience) {
			t.Fatal("the log is stuck")
		}
	}
	files := func() int {
		found, err := filepath.Glob(filepath.Join(filepath.Dir(name), "access*"))
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	old := open()
	write(old, strings.Repeat("x", 1<<20-10))
	write(old, "a line in a new file")
	if n := files(); n != 2 {
		t.Fatalf("%d files", n)
	}
	old.share(true)
	successor := open()
	want := []string{"a line in a new file"}
	for range 5 {
		write(successor, "by the new process")
		write(old, "by the old one")
		want = append(want, "by the new process", "by the old one")
	}
	old.reopen() // USR1
	write(old, strings.Repeat("y", 1<<20))
	if n := files(); n != 2 {
		t.Errorf("%d files: the old process has rotated", n)
	}
	got, err := os.ReadFile(name)
	if lines := strings.Split(string(got), "\n"); err != nil || strings.Join(lines[:len(want)], "|") != strings.Join(want, "|") {
		t.Errorf("%.500s, %v", got, err)
	}
	// It goes on alone.
	old.share(false)
	write(old, "alone")
	if n := files(); n != 3 {
		t.Errorf("%d files after the rotation", n)
	}
	if got, err := os.ReadFile(name); !bytes.HasSuffix(got, []byte("alone\n")) || len(got) > 100 {
		t.Errorf("%.100s, %v", got, err)
	}
}

// TestReopenedLogKeepsItsMode: a file that another program has rotated is created again with the
// same mode.
func TestReopenedLogKeepsItsMode(t *testing.T) {
	name := filepath.Join(t.TempDir(), "access")
	file, err := openAccessLog(name, &site.Logs{AccessLogMaxSize: 1 << 20}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	before, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(file, "one\n"); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name, name+".1"); err != nil {
		t.Fatal(err)
	}
	if err := file.Reopen(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(file, "two\n"); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(name)
	if err != nil || after.Mode() != before.Mode() || after.Size() != 4 {
		t.Errorf("%v, %v, %v", before, after, err)
	}
}

// TestRotationIsAsItWasAskedFor checks the options of the rotating library.
func TestRotationIsAsItWasAskedFor(t *testing.T) {
	file, err := openAccessLog(filepath.Join(t.TempDir(), "access"), &site.Logs{
		AccessLogMaxSize: 5<<20 + 1, AccessLogMaxAge: 49 * time.Hour, AccessLogBackups: 7, AccessLogCompress: true,
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	r := &file.(*rotatedFile).rotator
	if r.MaxSize != 6 || r.MaxAge != 3 || r.MaxBackups != 7 || !r.Compress {
		t.Errorf("%d MB, %d days, %d backups, compressed: %v", r.MaxSize, r.MaxAge, r.MaxBackups, r.Compress)
	}
}

// TestAccessLogOfASiteThatDoesNotStartIsClosed: the log is closed unless it was open before.
func TestAccessLogOfASiteThatDoesNotStartIsClosed(t *testing.T) {
	l := &logs{logger: slog.New(slog.DiscardHandler), stderr: io.Discard}
	s := &site.Site{}
	s.Settings.AccessLog = filepath.Join(t.TempDir(), "access")
	c, err := l.changeAccess(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.abort(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.file.file.Write([]byte("x")); err == nil {
		t.Error("it is open still")
	}
}
