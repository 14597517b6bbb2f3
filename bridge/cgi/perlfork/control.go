//go:build linux && (amd64 || arm64 || riscv64)

package perlfork

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// controlFD is the descriptor of a zygote's control socket. It is high, so that the files that a script opens get the
// numbers they would get without it.
const controlFD = 63

// systemCalls are the numbers that perl/lib/PagiBridge/CGI/Kernel.pm asks for.
var systemCalls = []struct {
	name   string
	number int
}{
	{"clone", syscall.SYS_CLONE},
	{"close", syscall.SYS_CLOSE},
	{"dup", syscall.SYS_DUP},
	{"dup3", syscall.SYS_DUP3},
	{"exit_group", syscall.SYS_EXIT_GROUP},
	{"faccessat", syscall.SYS_FACCESSAT},
	{"fcntl", syscall.SYS_FCNTL},
	{"fstat", syscall.SYS_FSTAT},
	{"getpid", syscall.SYS_GETPID},
	{"kill", syscall.SYS_KILL},
	{"lseek", syscall.SYS_LSEEK},
	{"openat", syscall.SYS_OPENAT},
	{"ppoll", syscall.SYS_PPOLL},
	{"prctl", syscall.SYS_PRCTL},
	{"prlimit64", unix.SYS_PRLIMIT64},
	{"read", syscall.SYS_READ},
	{"recvmsg", syscall.SYS_RECVMSG},
	{"rt_sigaction", syscall.SYS_RT_SIGACTION},
	{"rt_sigprocmask", syscall.SYS_RT_SIGPROCMASK},
	{"sendmsg", syscall.SYS_SENDMSG},
	{"setitimer", syscall.SYS_SETITIMER},
	{"socketpair", syscall.SYS_SOCKETPAIR},
	{"write", syscall.SYS_WRITE},
}

// loadArgument returns the option by which perl loads one of our modules before a script.
func loadArgument(module string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "-M%s=%d", module, controlFD)
	for _, call := range systemCalls {
		b.WriteString("," + call.name + "," + strconv.Itoa(call.number))
	}
	return b.String()
}

// newControl makes the socket pair between the gateway and a zygote. theirs blocks
// and is closed by the caller.
func newControl() (ours *os.File, theirs int, err error) {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, -1, os.NewSyscallError("socketpair", err)
	}
	if err := syscall.SetNonblock(pair[0], true); err != nil {
		return nil, -1, errors.Join(os.NewSyscallError("fcntl", err), syscall.Close(pair[0]), syscall.Close(pair[1]))
	}
	return os.NewFile(uintptr(pair[0]), "zygote"), pair[1], nil
}

// post sends a packet. It does not wait: the zygote reads each packet at once, unless something is wrong with it.
func post(control *os.File, packet []byte) error {
	conn, err := control.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = conn.Control(func(fd uintptr) {
		sent = syscall.Sendmsg(int(fd), packet, nil, nil, syscall.MSG_NOSIGNAL|syscall.MSG_DONTWAIT)
	})
	return errors.Join(err, sent)
}

// errNoRoom is the error of a packet whose descriptor was lost because this process may have no more.
var errNoRoom = errors.New("too many open files")

// errTooLarge is the error of a packet that has more bytes than there was room for.
var errTooLarge = errors.New("a packet is larger than it may be")

// hear waits for a packet and returns it, as a part of buf, and the descriptor that came with it or -1. At the end the
// error is io.EOF.
func hear(control *os.File, buf []byte) (packet []byte, fd int, err error) {
	conn, err := control.SyscallConn()
	if err != nil {
		return nil, -1, err
	}
	var rights [64]byte
	var n, rightsLen, flags int
	var got error
	err = conn.Read(func(s uintptr) bool {
		for {
			n, rightsLen, flags, _, got = syscall.Recvmsg(int(s), buf, rights[:], syscall.MSG_CMSG_CLOEXEC)
			if !errors.Is(got, syscall.EINTR) {
				return !errors.Is(got, syscall.EAGAIN)
			}
		}
	})
	if err = errors.Join(err, got); err != nil {
		return nil, -1, err
	}
	fd, err = oneDescriptor(rights[:rightsLen])
	switch {
	case err == nil && fd < 0 && flags&syscall.MSG_CTRUNC != 0:
		err = errNoRoom
	case err == nil && n == 0:
		err = io.EOF
	case err == nil && flags&syscall.MSG_TRUNC != 0:
		err = errTooLarge
	}
	if err != nil && fd >= 0 {
		_ = syscall.Close(fd) // it came with nothing
		fd = -1
	}
	return buf[:n], fd, err
}

// oneDescriptor takes the descriptor out of a control message and closes others.
func oneDescriptor(rights []byte) (int, error) {
	if len(rights) == 0 {
		return -1, nil
	}
	messages, err := syscall.ParseSocketControlMessage(rights)
	if err != nil {
		return -1, err
	}
	one := -1
	for i := range messages {
		fds, err := syscall.ParseUnixRights(&messages[i])
		if err != nil {
			continue // it carries something else
		}
		for _, fd := range fds {
			if one >= 0 {
				_ = syscall.Close(fd) // a packet has one at most
				continue
			}
			one = fd
		}
	}
	return one, nil
}

// hearWithin is hear for at most d, or until ctx ends. A descriptor that came with the packet is closed.
func hearWithin(ctx context.Context, control *os.File, buf []byte, d time.Duration) ([]byte, error) {
	if err := control.SetReadDeadline(time.Now().Add(d)); err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = control.SetReadDeadline(time.Unix(1, 0)) }) // fails when it is closed
	packet, fd, err := hear(control, buf)
	if fd >= 0 {
		_ = syscall.Close(fd) // none belongs to these packets
	}
	if !stop() {
		return nil, errors.Join(err, context.Cause(ctx))
	}
	return packet, errors.Join(err, control.SetReadDeadline(time.Time{}))
}
