package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// listenerSet is what one Run listens on.
type listenerSet []net.Listener

func (ls listenerSet) addrs() []net.Addr {
	addrs := make([]net.Addr, len(ls))
	for i, l := range ls {
		addrs[i] = l.Addr()
	}
	return addrs
}

// close closes what is still open; a Unix socket's file goes with it.
func (ls listenerSet) close() {
	for _, l := range ls {
		_ = l.Close() // closed already, or about to be closed by the process's end
	}
}

// listen opens every listener the options name, or none.
func (r *running) listen() (listenerSet, error) {
	listeners := append(listenerSet(nil), r.Listeners...)
	for _, spec := range r.listenSpecs() {
		l, err := r.open(spec)
		if err != nil {
			listeners.close()
			return nil, fmt.Errorf("server: listening on %s: %w", spec, err)
		}
		listeners = append(listeners, l)
	}
	return listeners, nil
}

func (r *running) listenSpecs() []string {
	specs := append([]string(nil), r.Listen...)
	if r.Socket != "" {
		specs = append(specs, "unix:"+r.Socket)
	}
	if len(specs) == 0 && len(r.Listeners) == 0 {
		host, port := orDefault(r.Host, DefaultHost), orDefault(r.Port, DefaultPort)
		specs = append(specs, net.JoinHostPort(host, strconv.Itoa(port)))
	}
	return specs
}

func (r *running) open(spec string) (net.Listener, error) {
	if path, ok := socketPath(spec); ok {
		return listenUnix(path, r.SocketMode)
	}
	return net.Listen("tcp", spec)
}

// socketPath tells a Unix socket's path from a TCP address.
func socketPath(spec string) (string, bool) {
	if path, ok := strings.CutPrefix(spec, "unix:"); ok {
		return path, true
	}
	return spec, strings.Contains(spec, "/")
}

// staleDial is how long an existing socket file gets to show that it is served.
const staleDial = time.Second

// listenUnix listens on a Unix socket. A file left behind by a server that is no
// more is replaced; one that is answered, or is no socket, is not touched.
func listenUnix(path string, mode fs.FileMode) (net.Listener, error) {
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if mode != 0 {
		if err := os.Chmod(path, mode); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	return l, nil
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s exists and is no socket", path)
	}
	ctx, cancel := context.WithTimeout(context.Background(), staleDial)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err == nil {
		conn.Close()
		return fmt.Errorf("another server answers on %s", path)
	}
	if ctx.Err() != nil { // its backlog is full: somebody is there
		return fmt.Errorf("another server holds %s", path)
	}
	if errors.Is(err, fs.ErrPermission) {
		return err
	}
	return os.Remove(path)
}
