//go:build linux && !386

package psgi

import "syscall"

// sendmsg is the number of the system call by which a worker attaches a descriptor to a frame; 0: it is not known.
const sendmsg = syscall.SYS_SENDMSG
