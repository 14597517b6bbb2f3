package pool

import (
	"errors"
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// checkPID makes sure that the process that has connected is the one with this pid.
func checkPID(conn *net.UnixConn, pid int) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	var sockErr error
	err = raw.Control(func(fd uintptr) {
		cred, sockErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, sockErr); err != nil {
		return fmt.Errorf("read the peer's credentials: %w", err)
	}
	if int(cred.Pid) != pid {
		return fmt.Errorf("process %d has connected where the zygote has announced process %d", cred.Pid, pid)
	}
	return nil
}
