package server

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// staleDial is how long an existing socket file gets to show that it is served.
	staleDial = time.Second
	// maxSocketPath is how many bytes a Unix socket's path may have.
	maxSocketPath = len(syscall.RawSockaddrUnix{}.Path) - 1
)

// unixListener listens on a Unix socket at a path that is not the one it was bound
// to. Its file goes with it, unless another server's has taken its place.
type unixListener struct {
	*net.UnixListener
	addr    *net.UnixAddr
	file    fs.FileInfo // device and inode of the socket
	foreign bool        // the file is somebody else's for good
	kept    atomic.Bool // the file stays
	close   func() error
}

// listenUnix listens on a Unix socket. A file left behind by a server that is no
// more is replaced; one that may be served, or is no socket, is not touched.
//
// The socket is bound to another name in the directory and renamed when it is
// ready, so that it is never seen with the wrong mode or without anybody listening.
func listenUnix(path string, place *Place) (net.Listener, error) {
	if runtime.GOOS == "linux" && strings.HasPrefix(path, "@") { // abstract: no file
		return net.Listen("unix", path)
	}
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("the path of a Unix socket may have %d bytes, not %d", maxSocketPath, len(path))
	}
	unlock, err := lockDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := checkStale(path); err != nil {
		return nil, err
	}
	inner, err := bindBeside(path)
	if err != nil {
		return nil, err
	}
	l := newUnixListener(inner, path)
	bound := inner.Addr().String()
	uid, gid, err := place.ids()
	if err == nil && (uid >= 0 || gid >= 0) {
		err = os.Chown(bound, uid, gid)
	}
	if err == nil && place.Mode != 0 {
		err = os.Chmod(bound, place.Mode)
	}
	if err == nil {
		l.file, err = os.Lstat(bound)
	}
	if err == nil {
		err = os.Rename(bound, path)
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(bound), inner.Close())
	}
	return l, nil
}

func newUnixListener(inner *net.UnixListener, path string) *unixListener {
	inner.SetUnlinkOnClose(false)
	l := &unixListener{UnixListener: inner, addr: &net.UnixAddr{Name: path, Net: "unix"}}
	l.close = sync.OnceValue(l.unlinkAndClose)
	return l
}

// adoptUnix makes a listener of an inherited one, whose file stays until own says
// that it is ours to remove.
func adoptUnix(inner *net.UnixListener, path string) *unixListener {
	l := newUnixListener(inner, path)
	l.kept.Store(true)
	file, err := os.Lstat(path)
	if err != nil || file.Mode().Type() != fs.ModeSocket {
		l.foreign = true // no name leads here any more, or an abstract one
		return l
	}
	l.file = file
	return l
}

// bindBeside listens at a name of its own in the directory of path.
func bindBeside(path string) (*net.UnixListener, error) {
	for tries := 0; ; tries++ {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: besideName(path), Net: "unix"})
		if !errors.Is(err, syscall.EADDRINUSE) || tries == 100 {
			return l, err
		}
	}
}

// besideName makes up a name in the directory of path which is, where the room for
// a socket's path allows, the name of path with a dot before it and a random end.
func besideName(path string) string {
	dir, name := filepath.Split(path)
	random := strconv.FormatUint(rand.Uint64()|1<<63, 36)[1:9]
	room := maxSocketPath - len(dir)
	if beside := "." + name + "." + random; len(beside) <= room {
		return dir + beside
	}
	return dir + random[:min(len(random), room)]
}

// checkStale returns an error unless path is free, or a socket that nobody serves.
func checkStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s exists and is no socket", path)
	}
	conn, err := net.DialTimeout("unix", path, staleDial)
	switch {
	case err == nil:
		_ = conn.Close() // nothing was said on it
		return fmt.Errorf("another server answers on %s", path)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return fmt.Errorf("%s may be another server's, remove it if it is not: %w", path, err)
}

// Accept returns connections that know the address the listener is known by.
func (l *unixListener) Accept() (net.Conn, error) {
	c, err := l.AcceptUnix()
	if err != nil {
		return nil, err
	}
	return &unixConn{c, l.addr}, nil
}

func (l *unixListener) Addr() net.Addr { return l.addr }
func (l *unixListener) Close() error   { return l.close() }

// unlinkAndClose removes the file first: as long as the socket is open its inode's
// number cannot be another's.
func (l *unixListener) unlinkAndClose() error {
	if l.kept.Load() {
		return l.UnixListener.Close()
	}
	var failed error
	unlock, err := lockDir(filepath.Dir(l.addr.Name))
	if err == nil {
		if file, err := os.Lstat(l.addr.Name); err == nil && os.SameFile(file, l.file) {
			failed = os.Remove(l.addr.Name)
		}
		unlock()
	} else {
		failed = err
	}
	return errors.Join(failed, l.UnixListener.Close())
}

// unixConn is a connection to a unixListener.
type unixConn struct {
	*net.UnixConn
	addr net.Addr
}

func (c *unixConn) LocalAddr() net.Addr { return c.addr }
