package command

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// TestPidFileOfAPredecessor: a successor that ends before it has taken over restores the
// predecessor's number. One that has taken over does not.
func TestPidFileOfAPredecessor(t *testing.T) {
	const predecessor = 1234567890 // longer than this process's number
	for _, taken := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "pid")
		before := strconv.Itoa(predecessor) + "\n"
		if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		p := &pidFile{path, file, predecessor}
		if err := p.write(); err != nil {
			t.Fatal(err)
		}
		if text, err := os.ReadFile(path); err != nil || string(text) != strconv.Itoa(os.Getpid())+"\n" {
			t.Errorf("written: %q, %v", text, err)
		}
		if taken {
			p.keep()
		}
		if err := p.release(); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(path)
		if taken && !os.IsNotExist(err) || !taken && (err != nil || string(text) != before) {
			t.Errorf("taken over: %v: released: %q, %v", taken, text, err)
		}
	}
}
