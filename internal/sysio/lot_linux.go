package sysio

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// lotEvents is how many connections are woken at most by one system call.
	lotEvents = 128
	// lotPace is how often a lot looks for connections whose time is over.
	lotPace = time.Second
)

// Lot waits for many connections with one goroutine. A goroutine for each would cost a stack of several KiB, here it is an
// entry in a table. The zero value is ready for use. Its goroutine runs while a connection is parked.
type Lot struct {
	mu    sync.Mutex
	poll  *os.File // that of epoll; nil while nothing is parked
	spots map[uint64]spot
	last  uint64 // the number that was given last
}

// spot is a parked connection.
type spot struct {
	fd    int32
	until time.Time // zero: without end
	who   Parked
}

// Park has who.Wake called when something can be read from c, its end included, or when the time is over; the zero time means
// no limit. It reports whether it will be. If not, nothing is parked: c is closed, is no socket, or the system has no
// resources left. Until then, nothing else may read from c. Who closes c calls WakeAll.
func (l *Lot) Park(c net.Conn, until time.Time, who Parked) bool {
	has, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := has.SyscallConn()
	if err != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.openLocked() {
		return false
	}
	l.last++
	added := false
	err = raw.Control(func(fd uintptr) {
		added = l.controlLocked(unix.EPOLL_CTL_ADD, int32(fd), l.last) == nil
		if added {
			l.spots[l.last] = spot{int32(fd), until, who}
		}
	})
	if err != nil || !added {
		l.closeLocked()
		return false
	}
	return true
}

// openLocked begins to wait unless that has begun.
func (l *Lot) openLocked() bool {
	if l.poll != nil {
		return true
	}
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	if err := unix.SetNonblock(fd, true); err != nil { // so that Go waits for it as for a socket
		_ = unix.Close(fd) // nothing was written
		return false
	}
	l.poll = os.NewFile(uintptr(fd), "epoll")
	l.spots = map[uint64]spot{}
	go l.watch(l.poll)
	return true
}

// closeLocked ends the waiting if nothing is parked.
func (l *Lot) closeLocked() {
	if len(l.spots) == 0 && l.poll != nil {
		_ = l.poll.Close() // nothing was written; watch notices
		l.poll = nil
	}
}

// controlLocked changes what epoll knows of a descriptor.
func (l *Lot) controlLocked(operation int, fd int32, number uint64) error {
	raw, err := l.poll.SyscallConn()
	if err != nil {
		return err
	}
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(uint32(number)), Pad: int32(uint32(number >> 32))}
	var failed error
	err = raw.Control(func(poll uintptr) { failed = unix.EpollCtl(int(poll), operation, int(fd), &event) })
	return errors.Join(err, failed)
}

// watch wakes connections until poll is closed.
func (l *Lot) watch(poll *os.File) {
	raw, err := poll.SyscallConn()
	if err != nil {
		return // closed already
	}
	var events [lotEvents]unix.EpollEvent
	n := 0
	look := func(fd uintptr) bool {
		n, err = unix.EpollWait(int(fd), events[:], 0)
		return n > 0
	}
	for due := time.Now().Add(lotPace); ; {
		if poll.SetReadDeadline(due) != nil {
			return // closed
		}
		n = 0
		if err := raw.Read(look); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return // closed
		}
		var woken []Parked
		now := time.Now()
		l.mu.Lock()
		if l.poll != poll {
			l.mu.Unlock()
			return
		}
		for _, e := range events[:max(n, 0)] {
			woken = l.leaveLocked(uint64(uint32(e.Fd))|uint64(uint32(e.Pad))<<32, woken)
		}
		if !now.Before(due) {
			due = now.Add(lotPace)
			for number, s := range l.spots {
				if !s.until.IsZero() && !now.Before(s.until) {
					woken = l.leaveLocked(number, woken)
				}
			}
		}
		l.closeLocked()
		l.mu.Unlock()
		for _, who := range woken {
			who.Wake()
		}
	}
}

// leaveLocked takes a connection out of the lot and adds it to those that are to be woken.
func (l *Lot) leaveLocked(number uint64, woken []Parked) []Parked {
	s, parked := l.spots[number]
	if !parked {
		return woken
	}
	delete(l.spots, number)
	_ = l.controlLocked(unix.EPOLL_CTL_DEL, s.fd, number) // a closed descriptor is gone from epoll already
	return append(woken, s.who)
}

// Len returns how many connections are parked.
func (l *Lot) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.spots)
}

// WakeAll wakes all that are parked.
func (l *Lot) WakeAll() {
	l.mu.Lock()
	var woken []Parked
	for number := range l.spots {
		woken = l.leaveLocked(number, woken)
	}
	l.closeLocked()
	l.mu.Unlock()
	for _, who := range woken {
		who.Wake()
	}
}
