package boltstore

import (
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// A file that another process has locked is waited for, and no other file with it.
func TestFilesDoNotWaitForOneAnother(t *testing.T) {
	dir := t.TempDir()
	locked, free := filepath.Join(dir, "locked"), filepath.Join(dir, "free")
	lock, err := bbolt.Open(locked, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	type outcome struct {
		f   *file
		err error
	}
	waiting := make(chan outcome, 1)
	go func() {
		f, err := openFile(locked, testkit.Patience)
		waiting <- outcome{f, err}
	}()
	testkit.Eventually(t, "the opening to begin", func() bool {
		files.Lock()
		defer files.Unlock()
		return files.open[locked] != nil
	})
	f, err := openFile(free, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-waiting:
		t.Error("the locked file is open")
	default:
	}
	if err := f.close(); err != nil {
		t.Error(err)
	}
	if err := lock.Close(); err != nil {
		t.Error(err)
	}
	got := testkit.Await(t, waiting)
	if got.err != nil {
		t.Fatal(got.err)
	}
	if err := got.f.close(); err != nil {
		t.Error(err)
	}
}

func TestAFileThatCannotBeOpenedIsForgotten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "locked")
	lock, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := openFile(path, time.Millisecond); err == nil {
		t.Error("opened")
	}
	if err := lock.Close(); err != nil {
		t.Error(err)
	}
	f, err := openFile(path, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.close(); err != nil {
		t.Error(err)
	}
}
