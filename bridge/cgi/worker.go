//go:build linux && (amd64 || arm64 || riscv64)

package cgi

import (
	"encoding/binary"
	"errors"
	"log/slog"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// worker is a child that runs a script many times: the loan of the process of each
// of its requests. Its end of a request is a message, or the end of the worker.
type worker struct {
	child    *child
	requests int
	job      *os.File // child.job, once somebody had to wait longer
}

// lend makes the process of the worker's next request.
func (w *worker) lend(onExit func()) *process {
	w.requests++
	return &process{
		pid: w.child.pid, exited: make(chan struct{}), handle: -1, onExit: onExit, loan: w,
		said: w.child.zygote.said, onReap: func() {},
	}
}

// awaitBriefly waits in the calling thread.
func (w *worker) awaitBriefly(d time.Duration) bool {
	for deadline := time.Now().Add(d); d > 0; d = time.Until(deadline) {
		fds := []unix.PollFd{{Fd: int32(w.child.job), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(d/time.Millisecond)+1)
		switch {
		case err == nil && n == 1:
			return true
		case err != nil && !errors.Is(err, unix.EINTR):
			return false
		}
	}
	return false
}

// await has the runtime's poller wait. It leaves the message where it is.
func (w *worker) await() {
	if w.job == nil {
		if err := syscall.SetNonblock(w.child.job, true); err == nil {
			w.job = os.NewFile(uintptr(w.child.job), "worker")
		}
	}
	for {
		if w.job != nil {
			if conn, err := w.job.SyscallConn(); err == nil && conn.Read(isReadable) == nil {
				return
			}
		}
		if w.awaitBriefly(time.Minute) {
			return
		}
	}
}

func isReadable(fd uintptr) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return n == 1 || err != nil && !errors.Is(err, unix.EINTR)
}

// giveBack takes the message that ends a request, and keeps the worker for the next.
func (w *worker) giveBack(status *syscall.WaitStatus) bool {
	var message [16]byte
	n, _, err := syscall.Recvfrom(w.child.job, message[:], syscall.MSG_DONTWAIT)
	if err != nil || n != 5 || message[0] != 'D' && message[0] != 'L' {
		w.child.zygote.lost()
		w.close()
		w.child.zygote.owner.disown(w.child.pid)
		return false
	}
	*status = syscall.WaitStatus(binary.NativeEndian.Uint32(message[1:]) << 8)
	z := w.child.zygote
	limit := z.owner.app.PersistentRequests
	if message[0] == 'L' || isClosed(z.gone) || limit > 0 && w.requests >= limit {
		z.lost()
		z.owner.tasks.Go(w.retire)
		return true
	}
	z.put(w.child)
	if isClosed(z.gone) {
		z.drain()
	}
	return true
}

// retire has a worker end that has no request. It may tidy up.
func (w *worker) retire() {
	w.close()
	p := &process{pid: w.child.pid, exited: make(chan struct{}), handle: -1, onExit: func() {}}
	if handle, err := unix.PidfdOpen(p.pid, 0); err == nil {
		p.handle = handle
	}
	if !p.exitsWithin(lingering) {
		p.signal(syscall.SIGKILL)
	}
	how := p.finish()
	w.child.zygote.log().Debug("a script's worker has ended", slog.Int("pid", p.pid), slog.Int("requests", w.requests), slog.String("how", describe(how)))
	w.child.zygote.owner.disown(p.pid)
}

func (w *worker) close() {
	if w.job != nil {
		_ = w.job.Close() // nothing was written by way of it
		return
	}
	_ = syscall.Close(w.child.job) // Linux frees the descriptor whatever it returns
}
