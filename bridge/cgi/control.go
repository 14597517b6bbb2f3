//go:build linux && (amd64 || arm64 || riscv64)

package cgi

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// controlFD is the descriptor of a zygote's control socket, high enough that it takes
// no number from the files a script opens.
const controlFD = 63

// largestMessage is what one packet holds at most, in bytes.
const largestMessage = 64 << 10

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
	{"fcntl", syscall.SYS_FCNTL},
	{"getpid", syscall.SYS_GETPID},
	{"lseek", syscall.SYS_LSEEK},
	{"openat", syscall.SYS_OPENAT},
	{"prctl", syscall.SYS_PRCTL},
	{"read", syscall.SYS_READ},
	{"recvmsg", syscall.SYS_RECVMSG},
	{"sendmsg", syscall.SYS_SENDMSG},
	{"socketpair", syscall.SYS_SOCKETPAIR},
	{"waitid", syscall.SYS_WAITID},
}

// loadArgument makes perl load module, one of ours, before a script.
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

// post sends one message. The other side reads all that it is sent at once.
func post(control *os.File, message []byte) error {
	conn, err := control.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = conn.Write(func(fd uintptr) bool {
		sent = syscall.Sendmsg(int(fd), message, nil, nil, syscall.MSG_NOSIGNAL)
		return !errors.Is(sent, syscall.EAGAIN)
	})
	return errors.Join(err, sent)
}

// hear waits for a message and returns it, a part of buf, with the descriptor that
// has come along or -1; io.EOF at the end.
func hear(control *os.File, buf []byte) (message []byte, fd int, err error) {
	conn, err := control.SyscallConn()
	if err != nil {
		return nil, -1, err
	}
	var rights [64]byte
	var n, rightsLen int
	var got error
	err = conn.Read(func(s uintptr) bool {
		for {
			n, rightsLen, _, _, got = syscall.Recvmsg(int(s), buf, rights[:], syscall.MSG_CMSG_CLOEXEC)
			if !errors.Is(got, syscall.EINTR) {
				return !errors.Is(got, syscall.EAGAIN)
			}
		}
	})
	if err = errors.Join(err, got); err != nil {
		return nil, -1, err
	}
	fd, err = oneDescriptor(rights[:rightsLen])
	if n == 0 && err == nil {
		err = io.EOF
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
				_ = syscall.Close(fd) // nobody has asked for it
				continue
			}
			one = fd
		}
	}
	return one, nil
}

// hearWithin is hear with a time limit.
func hearWithin(control *os.File, buf []byte, d time.Duration) ([]byte, error) {
	if err := control.SetReadDeadline(time.Now().Add(d)); err != nil {
		return nil, err
	}
	message, fd, err := hear(control, buf)
	if fd >= 0 {
		_ = syscall.Close(fd) // not asked for
	}
	return message, errors.Join(err, control.SetReadDeadline(time.Time{}))
}

// appendPairs appends what Zygote.pm reads as its configuration.
func appendPairs(b []byte, pairs ...string) []byte {
	for _, s := range pairs {
		b = append(append(b, s...), 0)
	}
	return b
}
