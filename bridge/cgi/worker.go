//go:build linux && (amd64 || arm64 || riscv64)

package cgi

import (
	"errors"
	"log/slog"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// worker is a child that runs a script many times: the loan of the process of each of its
// requests. It writes to the same two pipes all its life, and a mark ends its output of each
// request.
//
// It is used by one request at a time, or by who retires it.
type worker struct {
	child    *child
	requests int
	life     *os.File // becomes readable when the process ends; nil before the first request
	out      *pipe    // likewise
	errs     *pipe
	woken    bool // the watch of the last request was told to end
}

// begin hands the worker a request.
func (w *worker) begin(request []byte, c command, r *run) (*process, error) {
	var fds []int
	if request[4]&withInput != 0 {
		fds = append(fds, c.stdin)
	}
	if w.out == nil {
		if err := w.open(); err != nil {
			return nil, err
		}
		request[4] |= withOutput
		fds = append(fds, w.out.script, w.errs.script)
	} else {
		request[4] &^= withOutput
	}
	if w.woken {
		w.woken = false
		if err := errors.Join(w.life.SetReadDeadline(time.Time{}), w.out.ours.SetReadDeadline(time.Time{}), w.errs.ours.SetReadDeadline(time.Time{})); err != nil {
			return nil, err
		}
	}
	if err := w.child.send(request, fds); err != nil {
		return nil, err
	}
	w.out.closeScript()
	w.errs.closeScript()
	w.requests++
	r.out, r.errs, r.mark = w.out, w.errs, &mark{text: string(request[5 : 5+markText])}
	owner := w.child.zygote.owner
	return &process{
		pid: w.child.pid, exited: make(chan struct{}), handle: -1, onExit: r.scriptExited, loan: w,
		said: w.child.zygote.said, onReap: func() { owner.disown(w.child.pid) },
	}, nil
}

// open makes what a worker has from its first request on.
func (w *worker) open() (err error) {
	if w.life == nil {
		// A process without a pidfd is known to have ended when its socket is closed, but
		// its children may have that, too.
		fd, err := unix.PidfdOpen(w.child.pid, 0)
		if err != nil && !errors.Is(err, unix.ESRCH) {
			fd, err = unix.FcntlInt(uintptr(w.child.job), unix.F_DUPFD_CLOEXEC, 0)
		}
		if err != nil {
			return err
		}
		if err := syscall.SetNonblock(fd, true); err != nil {
			return errors.Join(os.NewSyscallError("fcntl", err), syscall.Close(fd))
		}
		w.life = os.NewFile(uintptr(fd), "worker")
	}
	if w.out, err = newPipe(false); err != nil {
		return err
	}
	if w.errs, err = newPipe(false); err != nil {
		w.out.close()
		w.out = nil
	}
	return err
}

// awaitBriefly waits for the worker's end in the calling thread.
func (w *worker) awaitBriefly(d time.Duration) bool {
	ended := false
	if conn, err := w.life.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) { ended = awaitReadable(int(fd), d) }) // fails only for a closed file
	}
	return ended
}

// await has the runtime's poller wait for the worker's end, or for wake.
func (w *worker) await() {
	if conn, err := w.life.SyscallConn(); err == nil {
		_ = conn.Read(isReadable) // an error is a deadline's: wake
	}
}

// isReadable is true when there is something to be read, or the end.
func isReadable(fd uintptr) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return n == 1 || err != nil && !errors.Is(err, unix.EINTR)
}

// wake ends await.
func (w *worker) wake() {
	w.woken = true
	_ = w.life.SetReadDeadline(time.Unix(1, 0)) // what can be polled has deadlines
}

// giveBack takes the worker back at the end of a request. One that has ended was given
// back without its mark.
func (w *worker) giveBack(marked, attended bool) bool {
	z := w.child.zygote
	if !marked {
		z.supply.lost()
		w.forget()
		return false
	}
	w.woken = w.woken || attended // there were deadlines
	limit := z.owner.app.PersistentRequests
	if limit > 0 && w.requests >= limit || !z.supply.give(w.child) {
		z.supply.lost()
		z.owner.spawn(w.retire)
	}
	return true
}

// forget is called when the process ends, and its pipes are the last request's.
func (w *worker) forget() {
	_ = syscall.Close(w.child.job) // Linux frees the descriptor whatever it returns
	if w.life != nil {
		_ = w.life.Close() // nothing was written by way of it
	}
	w.out, w.errs = nil, nil
}

// retire has a worker end that has no request. It may tidy up.
func (w *worker) retire() {
	w.out.close()
	w.errs.close()
	w.forget()
	p := &process{pid: w.child.pid, exited: make(chan struct{}), handle: -1, onExit: func() {}}
	if handle, err := unix.PidfdOpen(p.pid, 0); err == nil {
		p.handle = handle
	}
	if !p.exitsWithin(lingering) {
		p.signal(syscall.SIGKILL)
	}
	how := p.finish()
	z := w.child.zygote
	z.log().Debug("a script's worker has ended", slog.Int("pid", p.pid), slog.Int("requests", w.requests), slog.String("how", describe(how)))
	z.owner.disown(p.pid)
}
