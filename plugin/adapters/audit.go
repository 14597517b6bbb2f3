package adapters

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/lease"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/private"
	"github.com/pagi-go/pagi-bridge/plugin/internal/control"
)

// How much an adapter may tell of one mount.
const (
	// mostFiles is how many files of the application the gateway learns of, and mostName how long their names may be.
	mostFiles, mostName = 1 << 16, 4096
	// longestRetry is the longest Retry-After.
	longestRetry = time.Hour
	// mostComplaints is how many lies are logged for one attachment.
	mostComplaints = 10
	// mostWords is how many bytes of an error the gateway takes over.
	mostWords = 16 << 10
)

// audit checks what an adapter tells of a mount before the gateway acts on it. Code that has taken over a worker may have
// taken over the adapter, which has the same user. It must not have the gateway connect to sockets of others, give files
// to other users, or run out of memory. One goroutine at a time uses an audit.
type audit struct {
	dir string // the adapter's directory for temporary files; the sockets of its workers are below
	uid int    // of the adapter
	log *slog.Logger

	workers    map[string]bool // the tokens of those that have not ended
	files      int
	complaints int
}

// pass removes from changes what the gateway must not act on, and logs it.
func (a *audit) pass(c *lease.Changes) {
	kept := c.Endpoints[:0]
	for _, e := range c.Endpoints {
		if err := a.endpoint(e); err != nil {
			a.complain("a worker that the adapter tells of is not used", "worker", e.Worker, "error", err)
			continue
		}
		if e.State == lease.Ended {
			delete(a.workers, e.Token)
		} else {
			a.workers[e.Token] = true
		}
		kept = append(kept, e)
	}
	c.Endpoints = kept
	if f := c.Facts; f != nil {
		if f.UID != a.uid || f.Circuit > worker.HalfOpen {
			a.complain("what the adapter tells of its workers is not used", "user", f.UID, "circuit", uint(f.Circuit))
			c.Facts = nil
		}
		f.RetryAfter = min(max(0, f.RetryAfter), longestRetry)
	}
	c.Lost = max(0, c.Lost)
	names := c.Loaded[:0]
	for _, name := range c.Loaded {
		if a.files < mostFiles && len(name) <= mostName {
			a.files++
			names = append(names, name)
		}
	}
	c.Loaded = names
}

// endpoint reports why a worker is not used.
func (a *audit) endpoint(e lease.Endpoint) error {
	switch {
	case e.State > lease.Ended:
		return fmt.Errorf("its state has the number %d, which this gateway does not know", e.State)
	case len(e.Token) < 16 || len(e.Token) > 128:
		return errors.New("its token does not have 16 to 128 bytes")
	case e.Worker < 1:
		return errors.New("its number is not 1 or more")
	case e.State == lease.Ended:
		return nil
	case e.Kind != lease.Requests && e.Kind != lease.Scopes:
		return fmt.Errorf("it is of the kind %q, which this gateway does not know", control.Clean(string(e.Kind), 80))
	case e.PID < 1:
		return fmt.Errorf("its process has the number %d", e.PID)
	case e.UID != a.uid:
		return fmt.Errorf("its user is %d, and that of the adapter %d", e.UID, a.uid)
	case !a.workers[e.Token] && len(a.workers) >= control.MaxEndpoints:
		return fmt.Errorf("the mount has %d workers already", len(a.workers))
	}
	return checkOwn(a.dir, e.Address, a.uid)
}

// checkOwn reports a socket that does not lie in an adapter's directory, or is another user's. A missing one is no error:
// the worker may just have ended.
func checkOwn(dir, address string, uid int) error {
	if !filepath.IsAbs(address) { // the adapter has the gateway's working directory
		here, err := os.Getwd()
		if err != nil {
			return err
		}
		address = here + "/" + address
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	if filepath.Clean(address) != address || !private.Holds(dir, address) {
		return fmt.Errorf("its address %q is not in a private directory below %s", control.Clean(address, 200), dir)
	}
	if info, err := os.Lstat(filepath.Dir(address)); err == nil && !isPrivate(info, uid) {
		return fmt.Errorf("the directory of its address %s is not the adapter's alone", address)
	}
	if err := control.CheckSocket(address, uid); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// isPrivate reports whether a file is a directory that only a user can enter and change, directly and not by a link.
func isPrivate(info fs.FileInfo, uid int) bool {
	sys, is := info.Sys().(*syscall.Stat_t)
	return info.IsDir() && info.Mode().Perm()&0o077 == 0 && (!is || int(sys.Uid) == uid)
}

// complain logs a lie, unless there were many already.
func (a *audit) complain(what string, attrs ...any) {
	if a.complaints++; a.complaints <= mostComplaints {
		a.log.Error(what, attrs...)
	}
}

// shortened returns the beginning of an error of the adapter.
func shortened(text string) string { return text[:min(len(text), mostWords)] }
