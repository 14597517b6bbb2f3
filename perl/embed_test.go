package perl

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestExtractMends(t *testing.T) {
	dir := t.TempDir()
	if err := Extract(dir); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(dir, WorkerScript)
	want, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(script)
	if err != nil {
		t.Fatal(err)
	}
	if err := Extract(dir); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(script); err != nil || !os.SameFile(before, after) {
		t.Errorf("a file with the right content was not left alone: %v", err)
	}

	// A perl that has the file open goes on with what it has begun to read.
	const other = "another content"
	if err := os.WriteFile(script, []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	reader, err := os.Open(script)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Close() }()
	if err := Extract(dir); err != nil {
		t.Fatal(err)
	}
	if seen, err := io.ReadAll(reader); err != nil || string(seen) != other {
		t.Errorf("whoever had the file open read %.40q, %v", seen, err)
	}
	if got, err := os.ReadFile(script); err != nil || string(got) != string(want) {
		t.Errorf("the file was not mended: %v", err)
	}
}

func TestExtractAtOnce(t *testing.T) {
	dir := t.TempDir()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := Extract(dir); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	entries, err := os.ReadDir(filepath.Join(dir, "bin"))
	if err != nil || len(entries) != 2 {
		t.Errorf("bin holds %v, %v; want the two scripts alone", entries, err)
	}
}

func TestExtractIntoNoDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Extract(file); err == nil || !strings.Contains(err.Error(), "write the perl runtime") {
		t.Errorf("error %v", err)
	}
}
