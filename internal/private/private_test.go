package private

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestMain is also the process that makes a directory, and waits to be killed.
func TestMain(m *testing.M) {
	if os.Getenv("PRIVATE_TEST_CHILD") == "" {
		os.Exit(m.Run())
	}
	d, err := Make("pool")
	if err == nil {
		err = os.WriteFile(filepath.Join(d.Path(), "runtime.pl"), []byte("x"), 0o600)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(d.Path())
	time.Sleep(time.Hour)
}

// child starts a process that has made a directory.
func child(t *testing.T) (cmd *exec.Cmd, dir string) {
	t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "PRIVATE_TEST_CHILD=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // mostly it is dead
		_ = cmd.Wait()
	})
	line := bufio.NewScanner(out)
	if !line.Scan() {
		t.Fatal("it says nothing")
	}
	return cmd, line.Text()
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// TestSweep: directories of a process that was killed go, all others stay.
func TestSweep(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	at := func(name string) string { return filepath.Join(os.TempDir(), name) }
	mine, err := Make("pool")
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(mine.Path()); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	_, alive := child(t)
	cmd, dead := child(t)
	outside := at("outside")
	var stay []string
	for _, make := range []func() (string, error){
		func() (string, error) { return outside, os.MkdirAll(filepath.Join(outside, "x"), 0o700) },
		func() (string, error) {
			return at("pagi-private-pool-1"), os.Symlink(outside, at("pagi-private-pool-1"))
		},
		func() (string, error) {
			return at("pagi-private-pool-2"), os.WriteFile(at("pagi-private-pool-2"), nil, 0o600)
		},
		func() (string, error) { return at("pagi-pool-3"), os.Mkdir(at("pagi-pool-3"), 0o700) },                 // an older version's
		func() (string, error) { return at("pagi-private-pool-x"), os.Mkdir(at("pagi-private-pool-x"), 0o700) }, // not one that was made here
	} {
		path, err := make()
		if err != nil {
			t.Fatal(err)
		}
		stay = append(stay, path)
	}
	if os.Geteuid() == 0 {
		other := at("pagi-private-pool-4")
		if err := errors.Join(os.Mkdir(other, 0o700), os.Chown(other, 65534, 65534)); err != nil {
			t.Fatal(err)
		}
		stay = append(stay, other)
	}
	if err := os.Symlink(outside, filepath.Join(dead, "link")); err != nil {
		t.Fatal(err)
	}
	if removed, err := Sweep(); err != nil || len(removed) > 0 {
		t.Fatalf("while all run: %v, %v", removed, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if removed, err := Sweep(); err != nil || !slices.Equal(removed, []string{dead}) {
		t.Errorf("%v, %v, want %s", removed, err, dead)
	}
	for _, path := range append(stay, mine.Path(), alive, filepath.Join(alive, "runtime.pl"), filepath.Join(outside, "x")) {
		if !exists(path) {
			t.Errorf("%s is gone", path)
		}
	}
	if err := mine.Remove(); err != nil || exists(mine.Path()) || exists(dead) {
		t.Errorf("%v", err)
	}
}

// TestMakeBesideSweep starts and sweeps in several processes at the same time: none loses a
// directory that it has made.
func TestMakeBesideSweep(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	done := make(chan struct{})
	var sweeping, making sync.WaitGroup
	for range 2 {
		sweeping.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if removed, err := Sweep(); err != nil && !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("%v, %v", removed, err)
				}
			}
		})
	}
	for range 4 {
		making.Go(func() {
			for range 100 {
				d, err := Make("pool")
				if err != nil {
					t.Error(err)
					return
				}
				if err := os.WriteFile(filepath.Join(d.Path(), "x"), nil, 0o600); err != nil {
					t.Error(err)
				}
				if err := d.Remove(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	making.Wait()
	close(done)
	sweeping.Wait()
	if left, err := os.ReadDir(os.TempDir()); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}

// TestDirectoriesAreNotInherited: a program that outlives its starter does not keep its lock.
func TestDirectoriesAreNotInherited(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	d, err := Make("cgi")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "3600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGKILL)
		_ = cmd.Wait()
	}()
	if err := d.lock.Close(); err != nil { // as the kernel does for a process that was killed
		t.Fatal(err)
	}
	if removed, err := Sweep(); err != nil || !slices.Equal(removed, []string{d.Path()}) {
		t.Errorf("%v, %v", removed, err)
	}
}

// TestWithoutLocks: some network file systems have no locks. Sweep removes nothing there.
func TestWithoutLocks(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	flock = func(int, int) error { return syscall.ENOLCK }
	defer func() { flock = syscall.Flock }()
	d, err := Make("pool")
	if err != nil {
		t.Fatal(err)
	}
	if removed, err := Sweep(); err != nil || len(removed) > 0 || !exists(d.Path()) {
		t.Errorf("%v, %v", removed, err)
	}
	if err := d.Remove(); err != nil || exists(d.Path()) {
		t.Error(err)
	}
}
