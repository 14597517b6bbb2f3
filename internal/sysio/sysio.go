// Package sysio reads and writes sockets that never block without telling Go's
// scheduler of each system call.
//
// The scheduler watches the system calls that it is told of. Every 20 µs its monitor thread looks
// for calls that take longer, and gives their processor to another thread. A write to a loopback
// socket takes longer when the kernel lets the receiver run at once. A gateway that does little but
// such calls pays for that with a wake-up of the monitor and of a thread every few requests. A call
// on a socket that does not block needs no watching.
package sysio

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
)

// watched is the number of bytes from which on copying takes so long that the scheduler is told of
// the call.
const watched = 64 << 10

// Conn is a connection whose Read and Write do not tell the scheduler. It keeps the contract of
// net.Conn, deadlines and concurrent calls included.
type Conn struct {
	net.Conn
	in, out direction
}

// direction is one of the two directions of a connection. It holds the arguments of a call, so that
// no call allocates.
type direction struct {
	mu   sync.Mutex // a call at a time
	wait func(func(fd uintptr) bool) error
	try  func(fd uintptr) bool
	once func(fd uintptr) bool
	more func(fd uintptr) bool
	peek func(fd uintptr) bool
	into func(fd uintptr) bool
	room Room
	p    []byte
	n    int
	err  error
}

// New returns c itself where its calls cannot be made without the scheduler.
func New(c net.Conn) net.Conn {
	if !unwatched {
		return c
	}
	has, ok := c.(syscall.Conn)
	if !ok {
		return c
	}
	raw, err := has.SyscallConn()
	if err != nil {
		return c // closed already: the first call tells
	}
	x := &Conn{Conn: c}
	x.in.wait, x.in.try, x.in.into, x.in.peek = raw.Read, x.in.read, x.in.readInto, x.in.peekOnce
	x.out.wait, x.out.try, x.out.more = raw.Write, x.out.write, x.out.writeMore
	x.out.once = func(fd uintptr) bool { x.out.write(fd); return true }
	return x
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 || len(p) > watched {
		return c.Conn.Read(p)
	}
	n, err := c.in.do(c, "read", p)
	if n == 0 && err == nil {
		return 0, io.EOF
	}
	return n, err
}

// Room is memory for a read. Take returns some, of at least a byte and at most 64 KiB, and the same until Drop.
type Room interface {
	Take() []byte
	Drop()
}

// ReadInto is a Read that needs no memory while it waits. It takes the room before each try, and drops it when nothing has
// come. So thousands of connections that wait need no buffers.
func (c *Conn) ReadInto(room Room) (int, error) {
	c.in.mu.Lock()
	c.in.room = room
	n, err := c.in.callLocked(c, "read", nil, c.in.into)
	c.in.room = nil
	c.in.mu.Unlock()
	if n == 0 && err == nil {
		return 0, io.EOF
	}
	return n, err
}

// Write implements net.Conn.
func (c *Conn) Write(p []byte) (int, error) {
	if len(p) == 0 || len(p) > watched {
		return c.Conn.Write(p)
	}
	return c.out.do(c, "write", p)
}

// WriteAhead is a Write that another one follows at once. The kernel may put both into the same
// packet (MSG_MORE). An example is the head of a response before a file.
func (c *Conn) WriteAhead(p []byte) (int, error) {
	if len(p) == 0 || len(p) > watched {
		return c.Conn.Write(p)
	}
	return c.out.call(c, "write", p, c.out.more)
}

// TryWrite writes as much as the socket takes without waiting, possibly nothing.
func (c *Conn) TryWrite(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	return c.out.call(c, "write", p, c.out.once)
}

func (d *direction) do(c *Conn, name string, p []byte) (int, error) {
	return d.call(c, name, p, d.try)
}

func (d *direction) call(c *Conn, name string, p []byte, f func(fd uintptr) bool) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.callLocked(c, name, p, f)
}

func (d *direction) callLocked(c *Conn, name string, p []byte, f func(fd uintptr) bool) (int, error) {
	d.p, d.n, d.err = p, 0, nil
	err := d.wait(f)
	n := d.n
	d.p = nil
	if err == nil {
		err = d.err
	}
	if err == nil {
		return n, nil
	}
	var known *net.OpError
	if errors.As(err, &known) {
		err = known.Err
	}
	return n, &net.OpError{Op: name, Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// read tries to read once. It returns false when nothing has come yet.
func (d *direction) read(fd uintptr) bool {
	for {
		n, errno := read(fd, d.p)
		switch errno {
		case 0:
			d.n = n
			return true
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			d.err = os.NewSyscallError("read", errno)
			return true
		}
	}
}

// readInto is a read into the room.
func (d *direction) readInto(fd uintptr) bool {
	d.p = d.room.Take()
	done := d.read(fd)
	if !done {
		d.p = nil
		d.room.Drop()
	}
	return done
}

// write writes as much as the socket takes. It returns false when that is not all.
func (d *direction) write(fd uintptr) bool { return d.put(fd, write) }

func (d *direction) writeMore(fd uintptr) bool { return d.put(fd, writeMore) }

func (d *direction) put(fd uintptr, write func(uintptr, []byte) (int, syscall.Errno)) bool {
	for {
		n, errno := write(fd, d.p[d.n:])
		switch errno {
		case 0:
			if d.n += n; d.n == len(d.p) {
				return true
			}
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			d.err = os.NewSyscallError("write", errno)
			return true
		}
	}
}
