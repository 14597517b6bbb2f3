//go:build linux && (amd64 || arm64 || riscv64)

package cgi

import (
	"crypto/rand"
	"errors"
	"log/slog"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// child is a process that a zygote has forked and that waits for a request.
type child struct {
	zygote *zygote
	pid    int
	job    int     // the socket it waits at
	scout  bool    // it will report what it has loaded
	worker *worker // of a persistent script
}

// What the fifth byte of a request tells a worker. A process of one request gets
// descriptors for STDIN, STDOUT and STDERR in any case.
const (
	withInput  = 1 << iota // one for STDIN comes along; else that is /dev/null
	withOutput             // those for STDOUT and STDERR do, for this and all later requests
)

// childTries is how many processes of a zygote are tried that turn out to have died.
const childTries = 3

// process has a request run by one of the zygote's processes; nil where exec is to do it.
func (z *zygote) process(r *run, c command) *process {
	null, err := devNull()
	if err != nil {
		return nil
	}
	request := z.appendRequest(make([]byte, 0, 4<<10), c.env)
	if len(request) > largestMessage {
		return nil
	}
	if c.stdin != int(null.Fd()) {
		request[4] |= withInput
	}
	for range childTries {
		waiting := z.take(r.ctx)
		if waiting == nil {
			return nil
		}
		var p *process
		if waiting.worker != nil {
			p, err = waiting.worker.begin(request, c, r)
		} else {
			p, err = waiting.begin(request, c, r)
		}
		if err == nil {
			return p
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
func (c *child) begin(request []byte, to command, r *run) (*process, error) {
	if err := r.openOutputs(); err != nil {
		return nil, err
	}
	handle, err := unix.PidfdOpen(c.pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil, err
	}
	if err != nil {
		handle = -1 // this kernel has none, or there are too many
	}
	if err = c.send(request, []int{to.stdin, r.out.script, r.errs.script}); err != nil {
		if handle >= 0 {
			_ = syscall.Close(handle) // nothing was written
		}
		return nil, err
	}
	p := &process{pid: c.pid, exited: make(chan struct{}), handle: handle, onExit: r.scriptExited, said: c.zygote.said}
	p.onReap = func() {
		c.zygote.owner.disown(c.pid)
		if c.scout {
			c.zygote.readReport(c.pid)
		}
	}
	_ = syscall.Close(c.job) // Linux frees the descriptor whatever it returns
	return p, nil
}

// send hands over a request.
func (c *child) send(request []byte, fds []int) error {
	var rights []byte
	if len(fds) > 0 {
		rights = syscall.UnixRights(fds...)
	}
	return syscall.Sendmsg(c.job, request, rights, nil, syscall.MSG_NOSIGNAL|syscall.MSG_DONTWAIT)
}

// appendRequest appends the message for a child: four random bytes, what comes along,
// of a persistent script the text of the mark, then in what the environment differs from
// the one the script was compiled with.
func (z *zygote) appendRequest(b []byte, env []string) []byte {
	b = b[:5]
	_, _ = rand.Read(b[:4]) // never fails
	b[4] = 0
	if z.persistent {
		b = append(b, rand.Text()...)
	}
	present := 0
	for _, variable := range env {
		if name, _, _ := strings.Cut(variable, "="); z.known[name] {
			present++
		}
		if !z.base[variable] {
			b = append(append(b, variable...), 0)
		}
	}
	if present < len(z.known) {
		for name := range z.known {
			if lookup(env, name) == "" {
				b = append(append(b, name...), 0)
			}
		}
	}
	return b
}

// dismiss ends a child that has no request.
func (c *child) dismiss() {
	if c.worker != nil {
		c.worker.retire()
		return
	}
	_ = syscall.Close(c.job) // Linux frees the descriptor whatever it returns
	_ = syscall.Kill(c.pid, syscall.SIGKILL)
	for {
		if _, err := syscall.Wait4(c.pid, nil, 0, nil); !errors.Is(err, syscall.EINTR) {
			break
		}
	}
	c.zygote.owner.disown(c.pid)
}
