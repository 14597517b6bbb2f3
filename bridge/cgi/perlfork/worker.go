//go:build linux && (amd64 || arm64 || riscv64)

package perlfork

import (
	"errors"
	"log/slog"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pagi-go/pagi-bridge/bridge/cgi/internal/job"
	"github.com/pagi-go/pagi-bridge/internal/proc"
	"github.com/pagi-go/pagi-bridge/internal/sysio"
)

// worker is a child that runs a script many times. It writes to the same two pipes all its life, and a mark ends its
// output of each request.
//
// It is used by one request at a time, whose turn has it, or by the goroutine that retires it.
type worker struct {
	child    *child
	requests int
	life     *os.File // becomes readable when the process ends; nil before the first request
	out      *job.Pipe
	errs     *job.Pipe
	woken    bool // the watch of the last request was told to end
}

// begin hands the worker a request.
func (w *worker) begin(packet []byte, stdin int) (job.Job, error) {
	var fds []int
	if packet[4]&withInput != 0 {
		fds = append(fds, stdin)
	}
	if w.out == nil {
		if err := w.open(); err != nil {
			return nil, err
		}
		packet[4] |= withOutput
		fds = append(fds, w.out.Theirs(), w.errs.Theirs())
	} else {
		packet[4] &^= withOutput
	}
	if w.woken {
		w.woken = false
		never := time.Time{}
		if err := errors.Join(w.life.SetReadDeadline(never), w.out.Ours().SetReadDeadline(never), w.errs.Ours().SetReadDeadline(never)); err != nil {
			return nil, err
		}
	}
	if err := w.child.send(packet, fds); err != nil {
		return nil, err
	}
	w.out.CloseTheirs()
	w.errs.CloseTheirs()
	w.requests++
	return &turn{worker: w, out: w.out, errs: w.errs, mark: mark{text: string(packet[5 : 5+markText])}, Watcher: proc.NewWatcher(w)}, nil
}

// open makes what a worker has from its first request on: the pipes, and life.
func (w *worker) open() (err error) {
	if w.life == nil {
		// Without a pidfd the end of a process is seen by the end of its socket. That comes later where its children
		// have inherited the socket.
		fd, err := unix.PidfdOpen(w.child.pid, 0)
		if err != nil && !errors.Is(err, unix.ESRCH) {
			fd, err = unix.FcntlInt(uintptr(w.child.socket), unix.F_DUPFD_CLOEXEC, 0)
		}
		if err != nil {
			return err
		}
		if err := syscall.SetNonblock(fd, true); err != nil {
			return errors.Join(os.NewSyscallError("fcntl", err), syscall.Close(fd))
		}
		w.life = os.NewFile(uintptr(fd), "worker")
	}
	w.out, w.errs, err = job.Outputs()
	return err
}

// AwaitBriefly implements proc.Waiter.
func (w *worker) AwaitBriefly(d time.Duration) bool {
	ended := false
	if conn, err := w.life.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) { ended = sysio.AwaitReadable(int(fd), d) }) // fails only for a closed file
	}
	return ended
}

// Await implements proc.Waiter: the runtime's poller waits for the worker's end, or for wake.
func (w *worker) Await() {
	if conn, err := w.life.SyscallConn(); err == nil {
		_ = conn.Read(isReadable) // an error is a deadline's: wake
	}
}

// isReadable is true when there is something to be read, or the end.
func isReadable(fd uintptr) bool {
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
	return n == 1 || err != nil && !errors.Is(err, unix.EINTR)
}

// wake ends Await.
func (w *worker) wake() {
	w.woken = true
	_ = w.life.SetReadDeadline(time.Unix(1, 0)) // what can be polled has deadlines
}

// takeBack is called at the end of a turn. A worker that was signalled gets no other request: the signal may reach it only
// then. deadlines says whether its pipes were given any.
func (w *worker) takeBack(signalled, deadlines bool) {
	z := w.child.zygote
	w.woken = w.woken || deadlines
	limit := z.owner.config.PersistentRequests
	if signalled || limit > 0 && w.requests >= limit || !z.supply.give(w.child) {
		z.supply.lost()
		z.owner.spawn(w.retire)
	}
}

// bury is called when the worker has ended in the middle of a turn, to which its pipes are left. It kills what the script
// has started, and returns how the worker ended.
func (w *worker) bury() proc.Exit {
	w.child.zygote.supply.lost()
	w.forget()
	p, err := proc.Adopt(w.child.pid, w.child.reaped)
	if err != nil {
		w.child.reaped() // this process ignores SIGCHLD, so nothing is left to be reaped
		return proc.Exit{}
	}
	return p.Finish()
}

// forget closes what the worker had besides its pipes. It is called when the process ends. A turn may still read the pipes.
func (w *worker) forget() {
	_ = syscall.Close(w.child.socket) // Linux frees the descriptor whatever it returns
	if w.life != nil {
		_ = w.life.Close() // nothing was written by way of it
	}
	w.out, w.errs = nil, nil
}

// retire ends a worker that has no request. The script's END blocks and destructors have a second to run.
func (w *worker) retire() {
	w.out.Close()
	w.errs.Close()
	w.forget()
	p, err := proc.Adopt(w.child.pid, w.child.reaped)
	if err != nil {
		w.child.reaped() // this process ignores SIGCHLD, so nothing is left to be reaped
		return
	}
	if !p.EndsWithin(lingering) {
		p.Signal(syscall.SIGKILL)
	}
	how := p.Finish()
	w.child.zygote.log().Debug("a script's worker has ended", slog.Int("pid", p.Pid()), slog.Int("requests", w.requests), slog.String("how", how.String()))
}
