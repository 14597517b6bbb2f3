package hung

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// littleEndian says how the kernel writes numbers in memory.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// call is a system call in which a process may wait.
type call struct {
	name  string
	files int // 1: its first argument is a descriptor
}

// calls are those in which processes wait for long, by their numbers. All machines with Linux have these; init of
// calls_linux_amd64.go adds older ones.
var calls = map[int]call{
	unix.SYS_READ: {"read", 1}, unix.SYS_READV: {"readv", 1}, unix.SYS_PREAD64: {"pread64", 1},
	unix.SYS_WRITE: {"write", 1}, unix.SYS_WRITEV: {"writev", 1}, unix.SYS_PWRITE64: {"pwrite64", 1},
	unix.SYS_SENDFILE: {"sendfile", 1}, unix.SYS_SPLICE: {"splice", 1}, unix.SYS_FSYNC: {"fsync", 1}, unix.SYS_FDATASYNC: {"fdatasync", 1},
	unix.SYS_CLOSE: {"close", 1}, unix.SYS_IOCTL: {"ioctl", 1}, unix.SYS_FCNTL: {"fcntl", 1}, unix.SYS_FLOCK: {"flock", 1},
	unix.SYS_FTRUNCATE: {"ftruncate", 1}, unix.SYS_FALLOCATE: {"fallocate", 1}, unix.SYS_GETDENTS64: {"getdents64", 1},
	unix.SYS_RECVFROM: {"recvfrom", 1}, unix.SYS_RECVMSG: {"recvmsg", 1}, unix.SYS_SENDTO: {"sendto", 1}, unix.SYS_SENDMSG: {"sendmsg", 1},
	unix.SYS_CONNECT: {"connect", 1}, unix.SYS_ACCEPT4: {"accept4", 1}, unix.SYS_SHUTDOWN: {"shutdown", 1},
	unix.SYS_EPOLL_PWAIT: {"epoll_pwait", 1},
	unix.SYS_OPENAT:      {"openat", 0}, unix.SYS_RENAMEAT2: {"renameat2", 0}, unix.SYS_UNLINKAT: {"unlinkat", 0}, unix.SYS_STATX: {"statx", 0},
	unix.SYS_PPOLL: {"ppoll", 0}, unix.SYS_PSELECT6: {"pselect6", 0}, unix.SYS_NANOSLEEP: {"nanosleep", 0},
	unix.SYS_CLOCK_NANOSLEEP: {"clock_nanosleep", 0}, unix.SYS_FUTEX: {"futex", 0}, unix.SYS_RESTART_SYSCALL: {"restart_syscall", 0},
	unix.SYS_WAIT4: {"wait4", 0}, unix.SYS_WAITID: {"waitid", 0}, unix.SYS_EXECVE: {"execve", 0}, unix.SYS_CLONE: {"clone", 0},
	unix.SYS_RT_SIGSUSPEND: {"rt_sigsuspend", 0}, unix.SYS_RT_SIGTIMEDWAIT: {"rt_sigtimedwait", 0},
	unix.SYS_MMAP: {"mmap", 0}, unix.SYS_MUNMAP: {"munmap", 0}, unix.SYS_BRK: {"brk", 0}, unix.SYS_SYNC: {"sync", 0},
}
