package server

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Socket is a listening socket that one process has opened for another.
type Socket struct {
	// Place is the address (Place.Address) at which a server listens with it, "" if no server has
	// used it yet. Name is its name in systemd.
	Place, Name string
	// Foreign says that another program than a server has opened it. The file of such a Unix socket
	// stays.
	Foreign bool
	File    *os.File
}

// isSystemds reports whether systemd has opened the socket.
func (s Socket) isSystemds() bool {
	return s.Place == "" || s.Foreign && !strings.HasPrefix(s.Place, "fd:")
}

// isNamed reports whether systemd has opened the socket for a place: "systemd" or
// "systemd:NAME".
func (s Socket) isNamed(p Place) bool {
	_, name, named := strings.Cut(p.Address, ":")
	return s.isSystemds() && (!named || s.Name == name)
}

// isAt reports whether the socket, bound to addr, listens at the address of a place.
func (s Socket) isAt(p Place, addr net.Addr) bool {
	if s.isSystemds() {
		return sameAddress(p, addr)
	}
	was := Place{Address: s.Place}
	if path, isUnix := p.path(); isUnix { // it was bound to another name
		old, wasUnix := was.path()
		return wasUnix && filepath.Clean(old) == filepath.Clean(path)
	}
	// The program that bound an unspecified address has decided which families it stands for.
	tcp, isTCP := addr.(*net.TCPAddr)
	return isTCP && (!tcp.IP.IsUnspecified() || was.network() == p.network()) && sameAddress(p, addr)
}

// Sockets returns duplicates of the sockets a running server listens on, for a
// process that is to take its place (Inherited). The caller closes them.
func (s *Server) Sockets() ([]Socket, error) {
	r := s.run.Load()
	if r == nil {
		return nil, errNotRunning
	}
	var all []Socket
	duplicate := func(of any, s Socket) error {
		err := control(of, func(fd uintptr) error {
			// A File made of a non-blocking descriptor stays non-blocking. So does the socket,
			// which both processes share.
			dup, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
			if err == nil {
				s.File = os.NewFile(uintptr(dup), s.Place)
				all = append(all, s)
			}
			return err
		})
		if err != nil {
			for _, other := range all {
				_ = other.File.Close() // only a duplicate
			}
			return fmt.Errorf("server: duplicating the socket of %s: %w", s.Place, err)
		}
		return nil
	}
	for _, l := range r.listeners {
		if err := duplicate(l.Listener, Socket{Place: l.place.Address, Name: l.name, Foreign: l.foreign}); err != nil {
			return nil, err
		}
	}
	for _, d := range r.datagrams {
		if !d.used {
			continue
		}
		if err := duplicate(d.PacketConn, Socket{Place: d.LocalAddr().String(), Name: d.socket.Name, Foreign: true}); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// inheritance holds the inherited sockets that are not in use yet.
type inheritance struct {
	sockets []Socket
	made    []net.Listener // the listeners made of the sockets

	datagrams []*datagramSocket // UDP sockets, which are in neither of the lists above
}

// newInheritance makes listeners of sockets, whose files it closes.
func newInheritance(sockets []Socket) (*inheritance, error) {
	h := &inheritance{}
	var errs []error
	for _, s := range sockets {
		if isDatagram(s.File) {
			d, err := newDatagramSocket(s)
			if err != nil {
				errs = append(errs, fmt.Errorf("server: the inherited socket %s: %w", s.File.Name(), err))
			} else {
				h.datagrams = append(h.datagrams, d)
			}
			errs = append(errs, s.File.Close())
			continue
		}
		l, err := net.FileListener(s.File)
		if err != nil {
			errs = append(errs, fmt.Errorf("server: the inherited descriptor %s is no socket that can be listened on: %w", s.File.Name(), err))
		} else {
			h.sockets, h.made = append(h.sockets, s), append(h.made, l)
		}
		errs = append(errs, s.File.Close())
	}
	if err := errors.Join(errs...); err != nil {
		h.left().close()
		for _, d := range h.datagrams {
			_ = d.Close() // an unused duplicate
		}
		return nil, err
	}
	return h, nil
}

// left returns the listeners that no place has taken.
func (h *inheritance) left() (set listenerSet) {
	for i, l := range h.made {
		if l != nil {
			set = append(set, h.adopt(i, Place{Address: h.sockets[i].Place}))
		}
	}
	return set
}

// take returns the inherited listeners for a place: those that another server has opened for it,
// those with its name in systemd, or those that listen at its address. If there are none, that is
// an error only for a place that cannot be opened.
func (h *inheritance) take(p Place) (set listenerSet, err error) {
	kind, rest, _ := strings.Cut(p.Address, ":")
	switch kind {
	case "fd":
		return h.descriptor(p, rest)
	case "systemd":
		for i, s := range h.sockets {
			if h.made[i] != nil && s.isNamed(p) {
				set = append(set, h.adopt(i, p))
			}
		}
		if len(set) == 0 {
			return nil, errors.New("systemd has passed no such socket")
		}
		return set, nil
	}
	for _, isFor := range []func(i int) bool{
		func(i int) bool { return h.sockets[i].Place == p.Address },
		func(i int) bool { return h.sockets[i].isAt(p, h.made[i].Addr()) },
	} {
		for i := range h.sockets {
			if h.made[i] != nil && isFor(i) {
				return listenerSet{h.adopt(i, p)}, nil
			}
		}
	}
	return nil, nil
}

// descriptor takes a socket with which this process was started.
func (h *inheritance) descriptor(p Place, number string) (listenerSet, error) {
	for i, s := range h.sockets { // a predecessor may have passed it under another number
		if h.made[i] != nil && s.Place == p.Address {
			return listenerSet{h.adopt(i, p)}, nil
		}
	}
	fd, err := strconv.Atoi(number)
	if err != nil {
		return nil, err
	}
	l, err := passed(fd)
	if err != nil {
		return nil, err
	}
	return listenerSet{{Listener: adopt(l, p, true), place: p, foreign: true}}, nil
}

// passed makes a listener of a descriptor with which this process was started, and closes the
// descriptor. A descriptor with close-on-exec was opened by this process itself, and is an error.
func passed(fd int) (net.Listener, error) {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC != 0 {
		return nil, fmt.Errorf("the process was not started with descriptor %d", fd)
	}
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("descriptor %d: %w", fd, err)
	}
	file := os.NewFile(uintptr(dup), "fd:"+strconv.Itoa(fd))
	l, err := net.FileListener(file)
	_ = file.Close() // only a duplicate, as is the listener's
	if err != nil {
		return nil, fmt.Errorf("descriptor %d is no socket that can be listened on: %w", fd, err)
	}
	_ = unix.Close(fd) // the listener has one of its own
	return l, nil
}

// adopt makes an inherited socket a listener of a place.
func (h *inheritance) adopt(i int, p Place) *listener {
	s, l := h.sockets[i], h.made[i]
	h.made[i] = nil
	foreign := s.Foreign || s.Place == ""
	return &listener{Listener: adopt(l, p, foreign), place: p, name: s.Name, foreign: foreign}
}

// adopt gives a Unix socket the path of its place. foreign says that no server has made its file.
func adopt(l net.Listener, p Place, foreign bool) net.Listener {
	inner, is := l.(*net.UnixListener)
	if !is {
		return l
	}
	path, ok := p.path()
	if !ok {
		path = l.Addr().String()
	}
	u := adoptUnix(inner, path)
	u.foreign = u.foreign || foreign
	return u
}

// sameAddress reports whether a socket listens at the address of a place.
func sameAddress(p Place, addr net.Addr) bool {
	if path, ok := p.path(); ok {
		return addr.Network() == "unix" && addr.String() == path
	}
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return false
	}
	host, port, err := net.SplitHostPort(p.Address)
	if err != nil || port != strconv.Itoa(tcp.Port) {
		return false
	}
	if host == "" {
		return tcp.IP.IsUnspecified()
	}
	want, err := net.ResolveIPAddr("ip", host)
	return err == nil && want.IP.Equal(tcp.IP)
}
