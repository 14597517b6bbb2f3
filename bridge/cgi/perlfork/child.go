//go:build linux && (amd64 || arm64 || riscv64)

package perlfork

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"syscall"

	"github.com/pagi-go/pagi-bridge/bridge/cgi/internal/job"
	"github.com/pagi-go/pagi-bridge/internal/proc"
	"github.com/pagi-go/pagi-bridge/internal/sysio"
)

// child is a process that a zygote has forked and that waits for a request.
type child struct {
	zygote *zygote
	pid    int
	socket int     // the gateway's end of the socket at which it waits
	worker *worker // nil: it runs one request
}

// childTries is how many processes are tried for a request. Some may have died while they waited.
const childTries = 3

// run has a request run by one of the zygote's processes. It returns nil where a new process is to run it.
func (z *zygote) run(ctx context.Context, r *Request) job.Job {
	null, err := job.DevNull()
	if err != nil {
		return nil
	}
	packet := z.appendRequest(make([]byte, 0, 4<<10), r.Env)
	if len(packet) > largestPacket {
		return nil
	}
	if z.persistent && r.Stdin != int(null.Fd()) {
		packet[4] |= withInput
	}
	for range childTries {
		waiting := z.take(ctx)
		if waiting == nil {
			return nil
		}
		var j job.Job
		if waiting.worker != nil {
			j, err = waiting.worker.begin(packet, r.Stdin)
		} else {
			j, err = waiting.begin(packet, r.Stdin)
		}
		if err == nil {
			return j
		}
		z.log().Debug("a forked process cannot be given a request", slog.Any("error", err))
		if waiting.worker != nil {
			z.supply.lost()
		}
		waiting.dismiss()
		if !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.ESRCH) {
			return nil // the next one would fare no better
		}
	}
	return nil
}

// begin hands the child its request.
func (c *child) begin(packet []byte, stdin int) (job.Job, error) {
	out, errs, err := job.Outputs()
	if err != nil {
		return nil, err
	}
	p, err := proc.Adopt(c.pid, c.reaped)
	if err == nil {
		if err = c.send(packet, []int{stdin, out.Theirs(), errs.Theirs()}); err != nil {
			p.Abandon()
		}
	}
	if err != nil {
		out.Close()
		errs.Close()
		return nil, err
	}
	_ = syscall.Close(c.socket) // Linux frees the descriptor, whatever close returns
	return job.NewOwn(p, out, errs, c.zygote.said), nil
}

// reaped is called when the child's number is free again.
func (c *child) reaped() { c.zygote.owner.disown(c.pid) }

// send hands over a request.
func (c *child) send(request []byte, fds []int) error {
	var rights []byte
	if len(fds) > 0 {
		rights = syscall.UnixRights(fds...)
	}
	return sysio.SendMessage(c.socket, request, rights)
}

// appendRequest appends the packet of a request, for a child or for a worker.
func (z *zygote) appendRequest(b []byte, env []string) []byte {
	if z.persistent {
		b = b[:5]
		_, _ = rand.Read(b[:4]) // never fails
		b[4] = 0
		b = append(b, rand.Text()...)
	} else {
		var seed [4]byte
		_, _ = rand.Read(seed[:]) // never fails
		b = append(append(b, z.shown...), seed[:]...)
	}
	return appendVariables(b, env, z.base, z.known)
}

// dismiss ends a child that has no request.
func (c *child) dismiss() {
	if c.worker != nil {
		c.worker.retire()
		return
	}
	_ = syscall.Close(c.socket) // Linux frees the descriptor, whatever close returns
	p, err := proc.Adopt(c.pid, c.reaped)
	if err != nil {
		c.reaped() // this process ignores SIGCHLD, so nothing is left to be reaped
		return
	}
	p.Signal(syscall.SIGKILL)
	p.Finish()
}
