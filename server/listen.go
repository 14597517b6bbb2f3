package server

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"syscall"
)

// listener is a listening socket with the options of its place.
type listener struct {
	net.Listener
	place Place
	tls   bool
	quic  bool // the server speaks HTTP/3 at its port

	name    string // that systemd has for it
	foreign bool   // another program than a server has opened it

	once sync.Once
	err  error
}

// Close closes the listener, once.
func (l *listener) Close() error {
	l.once.Do(func() { l.err = l.Listener.Close() })
	return l.err
}

// listenerSet is the listeners of one Run.
type listenerSet []*listener

func (ls listenerSet) addrs() []net.Addr {
	addrs := make([]net.Addr, len(ls))
	for i, l := range ls {
		addrs[i] = l.Addr()
	}
	return addrs
}

// close closes the listeners that are still open and removes the files of Unix sockets.
func (ls listenerSet) close() {
	for _, l := range ls {
		_ = l.Close() // closed already, or closed by the end of the process
	}
}

// own takes over the files of Unix sockets that a predecessor has made: they are removed when their
// listeners are closed.
func (ls listenerSet) own() { ls.setKept(false) }

// disown leaves the files of Unix sockets to a successor: closing the listeners does not remove
// them.
func (ls listenerSet) disown() { ls.setKept(true) }

func (ls listenerSet) setKept(kept bool) {
	for _, l := range ls {
		if u, ok := l.Listener.(*unixListener); ok && !u.foreign {
			u.kept.Store(kept)
		}
	}
}

// listen opens all listeners that the options name; after an error it leaves none open.
func (r *running) listen() (set listenerSet, err error) {
	inherited, err := newInheritance(r.first.Inherited)
	if err != nil {
		return nil, err
	}
	defer func() {
		left := inherited.left()
		if err != nil {
			left.close()
			set.close()
			set = nil
			return
		}
		r.left = left
		for _, l := range left {
			r.log.Warn("there is no place to listen at for an inherited socket; it is closed", "socket", l.Addr().String())
		}
	}()
	for _, l := range r.first.Listeners {
		set = append(set, &listener{Listener: l, place: Place{Address: l.Addr().String(), Plain: l.Addr().Network() == "unix"}})
	}
	r.datagrams = inherited.datagrams
	specs := r.first.listenSpecs(inherited.sockets)
	if len(specs) == 0 && len(r.first.Listeners) == 0 {
		specs = []string{"systemd"}
	}
	for _, spec := range specs {
		place, err := ParsePlace(spec)
		if err != nil {
			return set, fmt.Errorf("server: listening on %w", err)
		}
		opened, err := r.open(place, inherited)
		if err != nil {
			return set, fmt.Errorf("server: listening on %s: %w", spec, err)
		}
		set = append(set, opened...)
	}
	for _, l := range set {
		if err := r.settle(l); err != nil {
			return set, err
		}
	}
	return set, nil
}

// settle decides whether a listener speaks TLS.
func (r *running) settle(l *listener) error {
	if l.place.TLS && r.tls == nil {
		return fmt.Errorf("server: listening on %s: it is to speak TLS, but there is no certificate", l.place.Address)
	}
	isUnix := l.Addr().Network() == "unix"
	l.tls = l.place.TLS || r.tls != nil && !l.place.Plain && !l.place.Redirect && !isUnix
	if l.place.Proxy && !isUnix && r.proxies.IsEmpty() {
		return fmt.Errorf("server: listening on %s: no proxy may connect; name those that may (ProxyProtocolFrom)", l.place.Address)
	}
	return nil
}

// listenSpecs returns the addresses to listen at. It returns none if there are only Listeners, or
// sockets from systemd.
func (s *Server) listenSpecs(inherited []Socket) []string {
	specs := append([]string(nil), s.Listen...)
	if s.Socket != "" {
		specs = append(specs, "unix:"+s.Socket)
	}
	if len(specs) > 0 {
		return specs
	}
	if len(s.Listeners) > 0 || s.Host == "" && s.Port == 0 && slices.ContainsFunc(inherited, Socket.isSystemds) {
		return nil
	}
	host, port := orDefault(s.Host, DefaultHost), orDefault(s.Port, DefaultPort)
	return []string{net.JoinHostPort(host, strconv.Itoa(port))}
}

// open opens the listener of one place, or takes the inherited sockets for it.
func (r *running) open(place Place, inherited *inheritance) (listenerSet, error) {
	if taken, err := inherited.take(place); len(taken) > 0 || err != nil {
		return taken, err
	}
	path, isUnix := place.path()
	if isUnix {
		if place.Mode == 0 {
			place.Mode = r.first.SocketMode
		}
		l, err := listenUnix(path, &place)
		if err != nil {
			return nil, err
		}
		return r.limitBacklog(listenerSet{{Listener: l, place: place}})
	}
	l, err := net.Listen(place.network(), place.Address)
	if err != nil {
		return nil, err
	}
	return r.limitBacklog(listenerSet{{Listener: l, place: place}})
}

// limitBacklog sets how many connections may wait on new listeners.
func (r *running) limitBacklog(set listenerSet) (listenerSet, error) {
	if r.first.Backlog <= 0 {
		return set, nil
	}
	for _, l := range set {
		err := control(l.Listener, func(fd uintptr) error { return syscall.Listen(int(fd), r.first.Backlog) })
		if err != nil {
			return set, fmt.Errorf("backlog: %w", err)
		}
	}
	return set, nil
}

// control calls f with the descriptor of a listener or a connection.
func control(l any, f func(fd uintptr) error) error {
	with, ok := l.(syscall.Conn)
	if !ok {
		return fmt.Errorf("%T has no descriptor", l)
	}
	raw, err := with.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = f(fd) }); err != nil {
		return err
	}
	return failed
}
