package proc

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// PeerPID returns the number of the process at the other end of a Unix socket. known is false where the system does not
// tell it; the caller has to trust whoever can reach the socket then.
func PeerPID(conn *net.UnixConn) (pid int, known bool, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, true, err
	}
	var cred *unix.Ucred
	var sockErr error
	err = raw.Control(func(fd uintptr) {
		cred, sockErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, sockErr); err != nil {
		return 0, true, fmt.Errorf("read the peer's credentials: %w", err)
	}
	return int(cred.Pid), true, nil
}
