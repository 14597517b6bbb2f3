package proc

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// PeerOf returns the process at the other end of a Unix socket, and its user. known is false where the system does not
// tell. The caller then has to trust every process that can reach the socket.
func PeerOf(conn *net.UnixConn) (peer Peer, known bool, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return Peer{}, true, err
	}
	var cred *unix.Ucred
	var sockErr error
	err = raw.Control(func(fd uintptr) {
		cred, sockErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, sockErr); err != nil {
		return Peer{}, true, fmt.Errorf("read the peer's credentials: %w", err)
	}
	return Peer{PID: int(cred.Pid), UID: int(cred.Uid)}, true, nil
}
