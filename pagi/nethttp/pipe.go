package nethttp

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// pipeRoom is how many bytes wait in a pipe before a write waits.
const pipeRoom = 32 << 10

// newPipe returns the two ends of a connection in memory. Unlike net.Pipe's it has room for
// what was written and not read yet, as a connection of the kernel's has: both ends may write
// before they read. far has the addresses of a connection to a server.
func newPipe(local, remote net.Addr) (near, far *pipeEnd) {
	toFar, toNear := newFlow(), newFlow()
	return &pipeEnd{in: toNear, out: toFar, local: remote, remote: local}, &pipeEnd{in: toFar, out: toNear, local: local, remote: remote}
}

// pipeEnd is one end of a pipe. It is a net.Conn.
type pipeEnd struct {
	in, out       *flow
	local, remote net.Addr
}

// Read implements net.Conn.
func (p *pipeEnd) Read(b []byte) (int, error) { return p.in.read(b) }

// Write implements net.Conn.
func (p *pipeEnd) Write(b []byte) (int, error) { return p.out.write(b) }

// Close implements net.Conn. The other end reads what was written before, and then io.EOF.
func (p *pipeEnd) Close() error {
	p.in.close(io.ErrClosedPipe)
	p.out.close(io.EOF)
	return nil
}

// LocalAddr implements net.Conn.
func (p *pipeEnd) LocalAddr() net.Addr { return p.local }

// RemoteAddr implements net.Conn.
func (p *pipeEnd) RemoteAddr() net.Addr { return p.remote }

// SetDeadline implements net.Conn.
func (p *pipeEnd) SetDeadline(t time.Time) error {
	return errors.Join(p.SetReadDeadline(t), p.SetWriteDeadline(t))
}

// SetReadDeadline implements net.Conn.
func (p *pipeEnd) SetReadDeadline(t time.Time) error {
	p.in.setDeadline(&p.in.readBy, t)
	return nil
}

// SetWriteDeadline implements net.Conn.
func (p *pipeEnd) SetWriteDeadline(t time.Time) error {
	p.out.setDeadline(&p.out.writeBy, t)
	return nil
}

// flow is one direction of a pipe.
type flow struct {
	mu      sync.Mutex
	changed *sync.Cond // is told of every change of the fields below
	bytes   []byte     // written and not read yet
	err     error      // ends a read behind the last byte; nil: the flow is open
	readBy  deadline
	writeBy deadline
	// The bytes of the flow are counted from its beginning: those that were written, those that
	// reads have taken, and those that had been taken when the last read began. The reader has
	// dealt with the latter.
	written, taken, dealtWith int64
}

// deadline is a time that wakes the goroutines that wait for a flow.
type deadline struct {
	at    time.Time   // zero: there is none
	timer *time.Timer // wakes them; nil: at is zero, or has passed
}

func (d *deadline) isPast() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func newFlow() *flow {
	f := &flow{}
	f.changed = sync.NewCond(&f.mu)
	return f
}

func (f *flow) read(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dealtWith = f.taken
	f.changed.Broadcast()
	for len(f.bytes) == 0 && len(b) > 0 {
		switch {
		case f.err != nil:
			return 0, f.err
		case f.readBy.isPast():
			return 0, os.ErrDeadlineExceeded
		}
		f.changed.Wait()
	}
	n := copy(b, f.bytes)
	f.bytes = f.bytes[n:]
	f.taken += int64(n)
	f.changed.Broadcast()
	return n, nil
}

func (f *flow) write(b []byte) (n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for {
		switch {
		case f.err != nil:
			return n, io.ErrClosedPipe
		case f.writeBy.isPast():
			return n, os.ErrDeadlineExceeded
		case n == len(b):
			return n, nil
		}
		if room := pipeRoom - len(f.bytes); room > 0 {
			piece := b[n:min(len(b), n+room)]
			f.bytes = append(f.bytes, piece...)
			f.written += int64(len(piece))
			n += len(piece)
			f.changed.Broadcast()
			continue
		}
		f.changed.Wait()
	}
}

// close ends the flow. Reads end with err behind the bytes that were written before.
func (f *flow) close(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
		f.changed.Broadcast()
	}
	if err != io.EOF { // the reader itself has closed it
		f.bytes = nil
	}
}

// setDeadline sets one of the flow's deadlines, which wakes the goroutines that wait.
func (f *flow) setDeadline(d *deadline, t time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	d.at = t
	f.changed.Broadcast()
	if left := time.Until(t); !t.IsZero() && left > 0 {
		d.timer = time.AfterFunc(left, f.wake)
	}
}

func (f *flow) wake() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changed.Broadcast()
}

// awaitDealtWith returns when the reader has dealt with all bytes that were written before the
// call: it has taken them, and begins another read. It also returns when the flow is closed or ctx
// ends.
func (f *flow) awaitDealtWith(ctx context.Context) {
	defer context.AfterFunc(ctx, f.wake)()
	f.mu.Lock()
	defer f.mu.Unlock()
	for written := f.written; f.dealtWith < written && f.err == nil && ctx.Err() == nil; {
		f.changed.Wait()
	}
}
