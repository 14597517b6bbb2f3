package command

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// privateServer answers at a Unix socket that only this process's user can reach.
type privateServer struct {
	http     *http.Server
	listener *net.UnixListener
	file     fs.FileInfo
	path     string // of the socket
	hidden   string // where it is until it appears
	done     chan struct{}
}

// servePrivate answers with a handler at a socket that is at path once it appears; it returns nil
// for no path. The socket's directory, which is made where it is missing, must be nobody else's.
// Where another process of the gateway answers there already, replace takes its place. mark tells
// the sockets of one process apart until they appear.
func servePrivate(path, mark string, handler http.Handler, replace bool) (*privateServer, error) {
	if path == "" {
		return nil, nil
	}
	if err := privateDirectory(filepath.Dir(path)); err != nil {
		return nil, err
	}
	if conn, err := net.Dial("unix", path); err == nil {
		_ = conn.Close() // nothing was said on it
		if !replace {
			return nil, fmt.Errorf("another process answers at %s", path)
		}
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().Type() != fs.ModeSocket {
		return nil, fmt.Errorf("%s exists and is not a socket", path)
	}
	removeHidden(filepath.Dir(path))
	hidden := filepath.Join(filepath.Dir(path), "."+strconv.Itoa(os.Getpid())+mark)
	if most := len(syscall.RawSockaddrUnix{}.Path) - 1; max(len(path), len(hidden)) > most {
		return nil, fmt.Errorf("%s is too long for a socket: with its directory the name may have at most %d bytes", path, most)
	}
	if err := os.Remove(hidden); err != nil && !errors.Is(err, fs.ErrNotExist) { // left by a process that had the same number
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: hidden, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	s := &privateServer{listener: l, path: path, hidden: hidden, done: make(chan struct{})}
	if s.file, err = os.Lstat(hidden); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	s.http = &http.Server{ReadTimeout: 5 * time.Second, WriteTimeout: 5 * time.Second, IdleTimeout: time.Minute, Handler: handler}
	go func() {
		defer close(s.done)
		_ = s.http.Serve(l) // until close
	}()
	return s, nil
}

// hiddenAge is how old a socket is, at least, that a process had no time to make appear.
const hiddenAge = time.Minute

// removeHidden removes sockets of processes that were killed before theirs appeared. The
// directory is this process's user's alone.
func removeHidden(dir string) {
	found, err := filepath.Glob(filepath.Join(dir, ".[0-9]*"))
	if err != nil {
		return // the directory's name is no pattern; what is left does no harm
	}
	for _, path := range found {
		if info, err := os.Lstat(path); err != nil || info.Mode().Type() != fs.ModeSocket || time.Since(info.ModTime()) < hiddenAge {
			continue
		}
		conn, err := net.Dial("unix", path)
		switch {
		case err == nil:
			_ = conn.Close() // nothing was said on it
		case errors.Is(err, syscall.ECONNREFUSED):
			_ = os.Remove(path) // it does no harm
		}
	}
}

// privateDirectory makes sure that a directory is there, ours, and closed to others.
func privateDirectory(dir string) error {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return isPrivate(dir)
}

// isPrivate reports why a directory is not ours, or not closed to others.
func isPrivate(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	sys, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return fmt.Errorf("%s is not a directory", dir)
	case ok && int(sys.Uid) != os.Geteuid():
		return fmt.Errorf("the directory %s must belong to user %d, who runs this process; it belongs to user %d", dir, os.Geteuid(), sys.Uid)
	case info.Mode().Perm()&0o077 != 0:
		return fmt.Errorf("the directory %s must have mode 0700, so that only its owner can enter it; it has %04o", dir, info.Mode().Perm())
	}
	return nil
}

// appear puts the socket at its path.
func (s *privateServer) appear() error {
	if s == nil {
		return nil
	}
	return os.Rename(s.hidden, s.path)
}

func (s *privateServer) close() error {
	if s == nil {
		return nil
	}
	err := s.http.Close()
	<-s.done
	for _, path := range []string{s.path, s.hidden} {
		if there, statErr := os.Lstat(path); statErr == nil && os.SameFile(there, s.file) {
			err = errors.Join(err, os.Remove(path))
		}
	}
	return err
}
