//go:build linux && (amd64 || arm64 || riscv64)

package perlfork

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// judge decides, before each system call that a script makes while it is compiled, whether the script may be compiled ahead
// of its requests. A call may pass if it changes nothing outside of the process and its result depends on files alone. A
// call that is not listed does not pass.
type judge struct {
	tracee
	directory string // the process's working directory, as the process has named it
	files     openFiles
	seen      sightings
	libraries libraries
	calendar  bool           // the year was looked at
	marking   bool           // the process is about to send itself the signal of a mark
	allowed   map[string]int // how often each of modulesThatLook has looked
	// returned is called with the result of the call that was judged last.
	returned func(result int64)
}

// A rule returns why a system call must not be made, "" if it may be.
type rule func(j *judge, argument *[6]uint64) string

func harmless(*judge, *[6]uint64) string { return "" }

func refuses(why string) rule { return func(*judge, *[6]uint64) string { return why } }

const (
	changesFiles   = "it changes files"
	startsProcess  = "it starts processes or threads"
	usesSocket     = "it uses a socket"
	signals        = "it sends a signal"
	waits          = "it waits"
	setsTimer      = "it sets an alarm"
	looksAtClock   = "it looks at the clock"
	looksAtProcess = "it looks at the number of its process"
	usesRandom     = "it uses random numbers"
	sharesMemory   = "it shares memory with other processes"
	changesProcess = "it changes what the process may do"
	locks          = "it locks a file"
	readsInput     = "it reads STDIN"
	redirects      = "it closes or redirects a standard handle"
	looksAtSystem  = "it looks at the room of a file system"
	opensPipe      = "it opens a pipe or runs a program"
	looksAtStatus  = "it looks at /proc/self/status"
	looksAtMemory  = "it looks at the memory that is free"
	looksAtOutput  = "it looks at a standard handle"
	placesMemory   = "it chooses where its memory lies"
)

// rules are those of the calls that every architecture has; legacyRules those of older ones.
var rules = withLegacy(map[uint64]rule{
	unix.SYS_BRK: harmless, unix.SYS_MUNMAP: harmless, unix.SYS_MREMAP: harmless, unix.SYS_MPROTECT: harmless, unix.SYS_MADVISE: harmless,
	unix.SYS_FUTEX: harmless, unix.SYS_SET_ROBUST_LIST: harmless, unix.SYS_RSEQ: harmless, unix.SYS_SCHED_YIELD: harmless, unix.SYS_SCHED_GETAFFINITY: harmless,
	unix.SYS_RT_SIGACTION: harmless, unix.SYS_RT_SIGPROCMASK: harmless, unix.SYS_RT_SIGRETURN: harmless, unix.SYS_SIGALTSTACK: harmless,
	unix.SYS_GETUID: harmless, unix.SYS_GETEUID: harmless, unix.SYS_GETGID: harmless, unix.SYS_GETEGID: harmless, unix.SYS_GETGROUPS: harmless,
	unix.SYS_GETRESUID: harmless, unix.SYS_GETRESGID: harmless, unix.SYS_UNAME: harmless, unix.SYS_GETCWD: harmless,
	unix.SYS_GETDENTS64: harmless, unix.SYS_FADVISE64: harmless, unix.SYS_READAHEAD: harmless, unix.SYS_UMASK: harmless, unix.SYS_EXIT_GROUP: harmless, unix.SYS_EXIT: harmless,
	unix.SYS_GETITIMER: harmless, unix.SYS_GETPRIORITY: harmless, unix.SYS_RESTART_SYSCALL: harmless,

	unix.SYS_MMAP:      (*judge).mapMemory,
	unix.SYS_PRLIMIT64: func(_ *judge, a *[6]uint64) string { return unless(a[2] == 0, changesProcess) },

	unix.SYS_READ: (*judge).readFrom, unix.SYS_READV: (*judge).readFrom, unix.SYS_PREAD64: (*judge).readFrom, unix.SYS_PREADV: (*judge).readFrom,
	unix.SYS_LSEEK: (*judge).readFrom, unix.SYS_FSTAT: (*judge).lookAtOpen, unix.SYS_FSTATFS: refuses(looksAtSystem), unix.SYS_FGETXATTR: (*judge).readFrom,
	unix.SYS_WRITE: (*judge).writeTo, unix.SYS_WRITEV: (*judge).writeTo,
	unix.SYS_IOCTL: (*judge).control, unix.SYS_FCNTL: (*judge).manage,
	unix.SYS_CLOSE: (*judge).closeFile,
	unix.SYS_DUP:   func(j *judge, a *[6]uint64) string { return j.duplicate(a[0]) },
	unix.SYS_DUP3:  func(j *judge, a *[6]uint64) string { return j.duplicateTo(a[0], a[1]) },

	unix.SYS_OPENAT:     func(j *judge, a *[6]uint64) string { return j.open(a[0], a[1], a[2]) },
	unix.SYS_FACCESSAT:  func(j *judge, a *[6]uint64) string { return j.look(a[0], a[1]) },
	unix.SYS_FACCESSAT2: func(j *judge, a *[6]uint64) string { return j.look(a[0], a[1]) },
	unix.SYS_READLINKAT: func(j *judge, a *[6]uint64) string { return j.lookAtLink(a[0], a[1]) },
	unix.SYS_STATX:      func(j *judge, a *[6]uint64) string { return j.lookAtEither(a[0], a[1], a[2]) },
	unix.SYS_STATFS:     (*judge).lookAtSystem,
	unix.SYS_GETXATTR:   func(j *judge, a *[6]uint64) string { return j.look(here, a[0]) },
	unix.SYS_LGETXATTR:  func(j *judge, a *[6]uint64) string { return j.look(here, a[0]) },
	unix.SYS_CHDIR:      (*judge).changeDirectory,

	unix.SYS_SOCKET:  (*judge).makeSocket,
	unix.SYS_CONNECT: (*judge).connect,

	unix.SYS_PRCTL: func(_ *judge, a *[6]uint64) string {
		option := number(a[0])
		return unless(option == unix.PR_GET_DUMPABLE || option == unix.PR_GET_NAME || option == unix.PR_CAPBSET_READ, changesProcess)
	},

	unix.SYS_CLOCK_GETTIME: (*judge).lookAtClock, unix.SYS_GETTIMEOFDAY: (*judge).lookAtClock,

	// These calls are refused, as unlisted ones are. They are listed for the sake of words that people know.
	unix.SYS_MKDIRAT: refuses("it makes a directory"), unix.SYS_UNLINKAT: refuses("it removes a file"), unix.SYS_RENAMEAT2: refuses("it renames a file"),
	unix.SYS_LINKAT: refuses(changesFiles), unix.SYS_SYMLINKAT: refuses(changesFiles), unix.SYS_MKNODAT: refuses(changesFiles), unix.SYS_FCHMODAT: refuses(changesFiles),
	unix.SYS_FCHMOD: refuses(changesFiles), unix.SYS_FCHOWN: refuses(changesFiles), unix.SYS_FCHOWNAT: refuses(changesFiles), unix.SYS_TRUNCATE: refuses(changesFiles),
	unix.SYS_FTRUNCATE: refuses(changesFiles), unix.SYS_UTIMENSAT: refuses(changesFiles), unix.SYS_FSYNC: refuses(changesFiles), unix.SYS_FALLOCATE: refuses(changesFiles),
	unix.SYS_FLOCK: func(_ *judge, a *[6]uint64) string { return unless(number(a[1])&^unix.LOCK_NB == 0, locks) }, unix.SYS_CLONE: refuses(startsProcess), unix.SYS_CLONE3: refuses(startsProcess), unix.SYS_EXECVE: refuses("it runs a program"),
	unix.SYS_WAIT4: refuses(startsProcess), unix.SYS_WAITID: refuses(startsProcess),
	unix.SYS_PIPE2: refuses(opensPipe), unix.SYS_SOCKETPAIR: refuses(usesSocket), unix.SYS_BIND: refuses(usesSocket), unix.SYS_SENDTO: refuses(usesSocket), unix.SYS_SENDMSG: (*judge).send,
	unix.SYS_RECVFROM: refuses(usesSocket), unix.SYS_LISTEN: refuses(usesSocket),
	unix.SYS_KILL: (*judge).signal, unix.SYS_TGKILL: refuses(signals), unix.SYS_TKILL: refuses(signals),
	unix.SYS_NANOSLEEP: refuses(waits), unix.SYS_CLOCK_NANOSLEEP: refuses(waits), unix.SYS_PPOLL: refuses(waits), unix.SYS_PSELECT6: refuses(waits), unix.SYS_RT_SIGSUSPEND: refuses(waits),
	unix.SYS_SETITIMER: refuses(setsTimer), unix.SYS_TIMER_CREATE: refuses(setsTimer), unix.SYS_TIMERFD_CREATE: refuses(setsTimer),
	unix.SYS_TIMES: refuses(looksAtClock), unix.SYS_SYSINFO: refuses(looksAtClock), unix.SYS_GETRUSAGE: refuses(looksAtClock),
	unix.SYS_GETPID: refuses(looksAtProcess), unix.SYS_GETPPID: refuses(looksAtProcess), unix.SYS_GETTID: refuses(looksAtProcess), unix.SYS_GETPGID: refuses(looksAtProcess), unix.SYS_GETSID: refuses(looksAtProcess),
	unix.SYS_GETRANDOM: refuses(usesRandom),
	unix.SYS_SHMGET:    refuses(sharesMemory), unix.SYS_SHMAT: refuses(sharesMemory), unix.SYS_SEMGET: refuses(sharesMemory), unix.SYS_MSGGET: refuses(sharesMemory), unix.SYS_MEMFD_CREATE: refuses(sharesMemory),
	unix.SYS_SETPRIORITY: refuses(changesProcess), unix.SYS_SETUID: refuses(changesProcess), unix.SYS_SETGID: refuses(changesProcess), unix.SYS_SETRESUID: refuses(changesProcess),
	unix.SYS_SETRESGID: refuses(changesProcess), unix.SYS_SETREUID: refuses(changesProcess), unix.SYS_SETREGID: refuses(changesProcess), unix.SYS_SETSID: refuses(changesProcess),
	unix.SYS_GET_MEMPOLICY: refuses(placesMemory), unix.SYS_SET_MEMPOLICY: refuses(placesMemory),
	unix.SYS_SETPGID: refuses(changesProcess), unix.SYS_CHROOT: refuses(changesProcess),
})

func withLegacy(all map[uint64]rule) map[uint64]rule {
	maps.Copy(all, legacyRules)
	return all
}

// judge returns why the system call that a process is about to make must not be made, or "".
func (j *judge) judge(info *syscallInfo) string {
	j.returned = nil
	rule, known := rules[info.number]
	if !known {
		return fmt.Sprintf("it makes the system call %d", info.number)
	}
	why := rule(j, &info.argument)
	if why != "" && (j.isDiscreet(why, &info.argument) || j.isKnown(why)) {
		return ""
	}
	return why
}

// number is an argument of a system call that is an int in C: the upper half of the register may be anything.
func number(argument uint64) int { return int(int32(argument)) }

func unless(fine bool, why string) string {
	if fine {
		return ""
	}
	return why
}

// mapMemory lets a process map memory of its own, and map files to read them.
func (j *judge) mapMemory(a *[6]uint64) string {
	const kinds = 0xf // MAP_TYPE
	if file := j.files.byNumber[number(a[4])]; file != nil && a[2]&unix.PROT_EXEC != 0 {
		length := a[1]
		j.returned = func(at int64) {
			if at > 0 {
				j.libraries.add(uint64(at), length, file.name)
			}
		}
	}
	anonymous := a[3]&unix.MAP_ANONYMOUS != 0
	if !anonymous && number(a[4]) <= 2 {
		return looksAtOutput
	}
	return unless(a[3]&kinds == unix.MAP_PRIVATE || !anonymous && a[2]&unix.PROT_WRITE == 0, sharesMemory)
}

// readFrom judges calls that read from the descriptor in their first argument. STDIN belongs to the request.
func (j *judge) readFrom(a *[6]uint64) string { return unless(number(a[0]) != 0, readsInput) }

// lookAtOpen judges calls that tell of an open file. The standard handles are different files in each process.
func (j *judge) lookAtOpen(a *[6]uint64) string {
	if is := number(a[0]); is == 1 || is == 2 {
		return looksAtOutput
	}
	return j.readFrom(a)
}

func (j *judge) writeTo(a *[6]uint64) string {
	switch number(a[0]) {
	case 1:
		return "it prints"
	case 2: // what is written is kept, and repeated in each run
		return ""
	}
	return changesFiles
}

// control lets perl ask whether a file is a terminal.
func (j *judge) control(a *[6]uint64) string {
	switch uint32(a[1]) {
	case unix.TCGETS:
		return ""
	}
	return "it controls a device (ioctl)"
}

// manage judges fcntl.
func (j *judge) manage(a *[6]uint64) string {
	switch number(a[1]) {
	case unix.F_GETFD, unix.F_GETFL:
		return ""
	case unix.F_SETFD:
		return unless(number(a[0]) > 2, redirects)
	case unix.F_DUPFD, unix.F_DUPFD_CLOEXEC:
		return j.duplicate(a[0])
	case unix.F_SETLK, unix.F_SETLKW, unix.F_GETLK, unix.F_OFD_SETLK, unix.F_OFD_SETLKW, unix.F_OFD_GETLK:
		return locks
	}
	return fmt.Sprintf("it changes a descriptor (fcntl %d)", number(a[1]))
}

func (j *judge) closeFile(a *[6]uint64) string {
	descriptor := number(a[0])
	if descriptor >= 0 && descriptor <= 2 || descriptor == controlFD {
		return redirects
	}
	j.files.close(descriptor)
	return ""
}

func (j *judge) duplicate(from uint64) string {
	if number(from) == 0 {
		return readsInput
	}
	j.returned = func(to int64) { j.files.duplicate(number(from), int(to)) }
	return ""
}

func (j *judge) duplicateTo(from, to uint64) string {
	switch {
	case number(from) == 0:
		return readsInput
	case number(to) <= 2 || number(to) == controlFD:
		return redirects
	}
	j.returned = func(result int64) { j.files.duplicate(number(from), int(result)) }
	return ""
}

// here is AT_FDCWD as an argument.
const here = ^uint64(99)

// longestPath is PATH_MAX.
const longestPath = 4096

// path reads a file's name and makes it an absolute one. Links and .. stay in it.
func (j *judge) path(directory, address uint64) (name string, ok bool) {
	name, err := j.text(address, longestPath)
	switch {
	case err != nil:
		return "", false
	case filepath.IsAbs(name):
		return name, true
	case number(directory) != unix.AT_FDCWD:
		return "", false
	}
	return j.directory + "/" + name, true
}

func (j *judge) open(directory, address, flags uint64) string {
	name, ok := j.path(directory, address)
	if !ok {
		return "it opens a file by a descriptor of its directory"
	}
	if flags&(unix.O_ACCMODE|unix.O_CREAT|unix.O_TRUNC|unix.O_TMPFILE&^unix.O_DIRECTORY) != unix.O_RDONLY && name != "/dev/null" {
		return "it opens " + name + " for writing"
	}
	if isTop(name) {
		return "it lists " + name
	}
	if why := special(name); why != "" {
		return why
	}
	j.seen.note(name, flags&unix.O_DIRECTORY != 0)
	j.returned = func(result int64) { j.files.open(int(result), name) }
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() && !info.IsDir() && !stable.MatchString(name) {
		return "it opens " + name + ", which is no plain file"
	}
	return ""
}

// look judges calls that tell of a file by its name, or by its descriptor where the name is empty.
func (j *judge) look(directory, address uint64) string {
	if number(directory) != unix.AT_FDCWD {
		if name, err := j.text(address, longestPath); err == nil && name == "" || address == 0 {
			return j.lookAtOpen(&[6]uint64{directory})
		}
	}
	name, ok := j.path(directory, address)
	if !ok {
		return "it looks at a file by a descriptor of its directory"
	}
	if why := special(name); why != "" && why != usesRandom { // only reading gives random numbers
		return why
	}
	j.seen.note(name, false)
	return ""
}

// lookAtSystem judges the call that tells how much room a file system has. Libraries use it to find out whether the
// kernel has a certain file system.
func (j *judge) lookAtSystem(a *[6]uint64) string {
	name, ok := j.path(here, a[0])
	return unless(ok && (strings.HasPrefix(name, "/sys/") || strings.HasPrefix(name, "/selinux")), looksAtSystem)
}

// lookAtLink judges calls that tell of a file and do not follow a link.
func (j *judge) lookAtLink(directory, address uint64) string {
	why := j.look(directory, address)
	if name, ok := j.path(directory, address); ok && why == "" {
		j.seen.noteLink(name)
	}
	return why
}

// lookAtEither judges a call whose flags say whether it follows a link.
func (j *judge) lookAtEither(directory, address, flags uint64) string {
	if flags&unix.AT_SYMLINK_NOFOLLOW != 0 {
		return j.lookAtLink(directory, address)
	}
	return j.look(directory, address)
}

func (j *judge) changeDirectory(a *[6]uint64) string {
	name, ok := j.path(here, a[0])
	if !ok {
		return "it changes its directory"
	}
	j.seen.note(name, false)
	j.returned = func(result int64) {
		if result == 0 {
			j.directory = name
		}
	}
	return ""
}

// nameService is the socket of the daemon that the C library asks first for users and groups. Without that daemon the
// answer comes from files.
const nameService = "/var/run/nscd/socket"

// makeSocket lets the C library make the socket for its question to nameService. The socket must not be kept open.
func (j *judge) makeSocket(a *[6]uint64) string {
	j.returned = func(result int64) { j.files.open(int(result), "a socket") }
	return unless(number(a[0]) == unix.AF_UNIX, usesSocket)
}

// connect lets the C library find that there is no name service.
func (j *judge) connect(a *[6]uint64) string {
	address := a[1]
	family, err := j.word(address &^ 7)
	if err != nil || address%8 != 0 && address%8 != 4 {
		return usesSocket
	}
	if uint16(family>>(8*(address%8))) != unix.AF_UNIX {
		return usesSocket
	}
	name, err := j.text(address+2, 108)
	if err != nil || name != nameService || isThere(nameService) {
		return usesSocket
	}
	j.seen.note(nameService, false)
	return ""
}

// send lets the Perl side send packets by the control socket.
func (j *judge) send(a *[6]uint64) string { return unless(number(a[0]) == controlFD, usesSocket) }

// signal lets the Perl side mark the end.
func (j *judge) signal(a *[6]uint64) string {
	j.marking = number(a[0]) == j.pid && number(a[1]) == int(unix.SIGTRAP)
	return unless(j.marking, signals)
}
