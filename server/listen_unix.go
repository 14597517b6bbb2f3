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
	// staleDial is how long a server at an existing socket file may take to accept a connection.
	staleDial = time.Second
	// besideAge is the age from which a socket counts as left behind by a server that could not
	// rename it.
	besideAge = time.Minute
	// maxSocketPath is how many bytes a Unix socket's path may have.
	maxSocketPath = len(syscall.RawSockaddrUnix{}.Path) - 1
)

// unixListener listens on a Unix socket that was renamed after it was bound. Close removes its
// file, unless another server has replaced that.
type unixListener struct {
	*net.UnixListener
	addr    *net.UnixAddr
	file    fs.FileInfo // device and inode of the socket
	foreign bool        // another program owns the file
	kept    atomic.Bool // Close leaves the file in place
	close   func() error
}

// listenUnix listens on a Unix socket. It replaces a file that a former server has left behind. It
// does not touch a file that may be served, or is no socket.
//
// The socket is bound to another name in the directory and renamed when it is ready. So no client
// sees it with the wrong mode, or before the server listens.
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
	removeBeside(path)
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

// adoptUnix makes a unixListener of an inherited listener. The file stays until own is called.
func adoptUnix(inner *net.UnixListener, path string) *unixListener {
	l := newUnixListener(inner, path)
	l.kept.Store(true)
	file, err := os.Lstat(path)
	if err != nil || file.Mode().Type() != fs.ModeSocket {
		l.foreign = true // the path leads to another file, or the socket is abstract
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

// besideName makes up a name in the directory of path. If the limit on a socket's path allows, it
// is the name of path with a dot in front and a random suffix.
func besideName(path string) string {
	dir, name := filepath.Split(path)
	random := strconv.FormatUint(rand.Uint64()|1<<63, 36)[1:9]
	room := maxSocketPath - len(dir)
	if beside := "." + name + "." + random; len(beside) <= room {
		return dir + beside
	}
	return dir + random[:min(len(random), room)]
}

// removeBeside removes the sockets that killed servers have bound beside path and not renamed. The
// directory is locked, so no other server is about to rename one. In directories that cannot be
// locked the age of a socket decides.
func removeBeside(path string) {
	dir, name := filepath.Split(path)
	found, err := filepath.Glob(filepath.Join(dir, "."+globEscape.Replace(name)+".????????"))
	if err != nil {
		return // Glob rejects the pattern
	}
	for _, beside := range found {
		info, err := os.Lstat(beside)
		if err != nil || info.Mode().Type() != fs.ModeSocket || time.Since(info.ModTime()) < besideAge {
			continue
		}
		if sys, ok := info.Sys().(*syscall.Stat_t); ok && int(sys.Uid) == os.Geteuid() && checkStale(beside) == nil {
			_ = os.Remove(beside) // a leftover does no harm
		}
	}
}

// globEscape escapes the special characters of a pattern.
var globEscape = strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `\`, `\\`)

// checkStale returns an error unless path is free, or a socket without a server.
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

// Accept returns connections whose local address is the path of the listener.
func (l *unixListener) Accept() (net.Conn, error) {
	c, err := l.AcceptUnix()
	if err != nil {
		return nil, err
	}
	return &unixConn{c, l.addr}, nil
}

func (l *unixListener) Addr() net.Addr { return l.addr }
func (l *unixListener) Close() error   { return l.close() }

// unlinkAndClose removes the file first: while the socket is open, no other file can get its inode
// number.
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
