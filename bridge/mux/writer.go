package mux

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"github.com/pagi-go/pagi-bridge/internal/sysio"
)

// backlog is how many bytes may wait to be written to a connection before streams with more to send
// wait. Frames about a connection or a stream never wait: there are few of them, and they are small.
const backlog = 256 << 10

// tryWriter writes as much as a socket takes without waiting, as sysio.Conn does.
type tryWriter interface {
	TryWrite(p []byte) (int, error)
}

// writer is the way out of a connection. A stream or the connection's reader puts frames into buf. The
// same goroutine writes them if the socket takes them at once, else the one that runs write does.
//
// While writing is set one goroutine writes to the socket, without holding mu; others only append.
type writer struct {
	conn io.Writer // a *net.UnixConn, where files has any
	try  tryWriter // nil if the socket cannot be tried

	mu      sync.Mutex
	buf     []byte
	files   []attached // descriptors of frames in buf
	spare   []byte
	writing bool
	err     error           // of the first write that failed
	waiting []chan struct{} // streams that wait for room, in their order
	empty   chan struct{}   // closed when nothing waits any more; nil unless flush waits

	wake chan struct{} // capacity 1: buf has something for the goroutine
}

func (w *writer) init(conn io.Writer) {
	w.conn = conn
	if socket, is := conn.(net.Conn); is {
		w.try, _ = sysio.New(socket).(tryWriter)
	}
	w.wake = make(chan struct{}, 1)
}

// put appends frames, which add adds to the buffer, and has them written. It does not wait for the
// other side.
func (w *writer) put(add func(b []byte) []byte) error {
	w.mu.Lock()
	err := w.putLocked(add)
	w.mu.Unlock()
	return err
}

// putFile is put for one frame with a descriptor, which the caller may close once it is sent: sent is
// closed then, or when that has failed.
func (w *writer) putFile(add func(b []byte) []byte, file *os.File) (sent <-chan struct{}, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return nil, w.err
	}
	a := attached{at: len(w.buf), file: file, sent: make(chan struct{})}
	w.files = append(w.files, a)
	return a.sent, w.putLocked(add)
}

func (w *writer) putLocked(add func(b []byte) []byte) error {
	if w.err != nil {
		return w.err
	}
	w.buf = add(w.buf)
	if w.writing {
		return nil // that goroutine sees to it
	}
	if w.try == nil || len(w.files) > 0 {
		w.signal()
		return nil
	}
	w.writing = true
	b, _ := w.swapLocked()
	w.mu.Unlock()
	n, err := w.try.TryWrite(b)
	w.mu.Lock()
	w.writing = false
	w.doneLocked(b, n, err)
	if len(w.buf) > 0 {
		w.signal()
	}
	return w.err
}

// putEvent is put for an EVENT. It waits while too much waits to be written.
//
// soon leaves the writing to the goroutine that runs write, so that frames that follow at once are written with this one.
func (w *writer) putEvent(ctx context.Context, soon bool, add func(b []byte) []byte) error {
	w.mu.Lock()
	for len(w.buf) >= backlog && w.err == nil || len(w.waiting) > 0 && len(w.buf) >= backlog/2 {
		turn := make(chan struct{})
		w.waiting = append(w.waiting, turn)
		w.mu.Unlock()
		select {
		case <-turn:
			w.mu.Lock()
		case <-ctx.Done():
			w.mu.Lock()
			w.leaveLocked(turn)
			w.mu.Unlock()
			return context.Cause(ctx)
		}
		if len(w.buf) < backlog || w.err != nil {
			break
		}
	}
	err := w.err
	if soon && err == nil {
		w.buf = add(w.buf)
		w.signal()
	} else {
		err = w.putLocked(add)
	}
	w.admitLocked()
	w.mu.Unlock()
	return err
}

// leaveLocked takes a stream that has given up out of the line. If it was its turn already, the next
// one gets it.
func (w *writer) leaveLocked(turn chan struct{}) {
	for i, other := range w.waiting {
		if other == turn {
			w.waiting = append(w.waiting[:i], w.waiting[i+1:]...)
			return
		}
	}
	w.admitLocked()
}

// admitLocked lets the first stream in line go on if there is room.
func (w *writer) admitLocked() {
	if len(w.waiting) > 0 && (len(w.buf) < backlog || w.err != nil) {
		close(w.waiting[0])
		w.waiting[0] = nil
		w.waiting = w.waiting[1:]
	}
}

// attached is a descriptor that goes with the frame at a place in the buffer.
type attached struct {
	at   int
	file *os.File
	sent chan struct{}
}

// swapLocked takes the bytes that wait, and their descriptors.
func (w *writer) swapLocked() ([]byte, []attached) {
	b, files := w.buf, w.files
	w.buf, w.spare, w.files = w.spare[:0], nil, nil
	return b, files
}

// flush waits until all has been written, or a write has failed.
func (w *writer) flush() {
	w.mu.Lock()
	if w.err != nil || len(w.buf) == 0 && !w.writing {
		w.mu.Unlock()
		return
	}
	if w.empty == nil {
		w.empty = make(chan struct{})
	}
	empty := w.empty
	w.mu.Unlock()
	<-empty
}

// doneLocked is called when n bytes of b were written. What is left goes back to the front.
func (w *writer) doneLocked(b []byte, n int, err error) {
	if err != nil {
		w.failLocked(err)
		return
	}
	defer w.tellEmptyLocked()
	if n < len(b) {
		for i := range w.files {
			w.files[i].at += len(b) - n
		}
		w.buf = append(append(make([]byte, 0, len(b)-n+len(w.buf)), b[n:]...), w.buf...)
		return
	}
	if cap(b) <= 2*backlog {
		w.spare = b[:0]
	}
	w.admitLocked()
}

// fail ends all writing and waiting, because the connection has ended.
func (w *writer) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failLocked(err)
}

func (w *writer) failLocked(err error) {
	if w.err == nil {
		w.err = err
	}
	w.buf = nil
	for _, a := range w.files {
		close(a.sent)
	}
	w.files = nil
	for len(w.waiting) > 0 {
		w.admitLocked()
	}
	w.tellEmptyLocked()
}

// tellEmptyLocked wakes flush if nothing waits to be written.
func (w *writer) tellEmptyLocked() {
	if w.empty != nil && len(w.buf) == 0 && (!w.writing || w.err != nil) {
		close(w.empty)
		w.empty = nil
	}
}

func (w *writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// write writes what put could not, until done is closed or a write fails.
func (w *writer) write(done <-chan struct{}) {
	for {
		select {
		case <-w.wake:
		case <-done:
			return
		}
		w.mu.Lock()
		for len(w.buf) > 0 && !w.writing && w.err == nil {
			w.writing = true
			b, files := w.swapLocked()
			w.mu.Unlock()
			n, err := w.writeAll(b, files)
			w.mu.Lock()
			w.writing = false
			w.doneLocked(b, n, err)
		}
		w.mu.Unlock()
	}
}

// writeAll writes b, and each descriptor with the first byte of its frame.
func (w *writer) writeAll(b []byte, files []attached) (n int, err error) {
	for _, a := range files {
		if err == nil && a.at > n {
			var more int
			more, err = w.conn.Write(b[n:a.at])
			n += more
		}
		if err == nil {
			err = w.writeWith(b[n:n+1], a.file)
			n++
		}
		close(a.sent)
	}
	if err != nil || n == len(b) {
		return n, err
	}
	more, err := w.conn.Write(b[n:])
	return n + more, err
}

func (w *writer) writeWith(b []byte, file *os.File) error {
	unix, ok := w.conn.(*net.UnixConn)
	if !ok {
		return fmt.Errorf("mux: a descriptor on a %T", w.conn)
	}
	_, _, err := unix.WriteMsgUnix(b, syscall.UnixRights(int(file.Fd())), nil)
	return err
}
