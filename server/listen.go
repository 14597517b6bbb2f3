package server

import (
	"fmt"
	"net"
	"strconv"
	"strings"
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
