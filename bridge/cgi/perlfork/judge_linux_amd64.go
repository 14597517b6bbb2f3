package perlfork

import "golang.org/x/sys/unix"

// legacyRules are those of system calls that newer architectures do not have.
var legacyRules = map[uint64]rule{
	unix.SYS_ARCH_PRCTL: harmless,

	unix.SYS_OPEN:       func(j *judge, a *[6]uint64) string { return j.open(here, a[0], a[1]) },
	unix.SYS_STAT:       func(j *judge, a *[6]uint64) string { return j.look(here, a[0]) },
	unix.SYS_LSTAT:      func(j *judge, a *[6]uint64) string { return j.lookAtLink(here, a[0]) },
	unix.SYS_ACCESS:     func(j *judge, a *[6]uint64) string { return j.look(here, a[0]) },
	unix.SYS_READLINK:   func(j *judge, a *[6]uint64) string { return j.lookAtLink(here, a[0]) },
	unix.SYS_NEWFSTATAT: func(j *judge, a *[6]uint64) string { return j.lookAtEither(a[0], a[1], a[3]) },
	unix.SYS_DUP2:       func(j *judge, a *[6]uint64) string { return j.duplicateTo(a[0], a[1]) },
	unix.SYS_GETRLIMIT:  harmless,
	unix.SYS_TIME:       (*judge).lookAtClock,

	unix.SYS_CREAT: refuses(changesFiles), unix.SYS_MKDIR: refuses("it makes a directory"), unix.SYS_RMDIR: refuses("it removes a directory"),
	unix.SYS_UNLINK: refuses("it removes a file"), unix.SYS_RENAME: refuses("it renames a file"), unix.SYS_RENAMEAT: refuses("it renames a file"),
	unix.SYS_LINK: refuses(changesFiles), unix.SYS_SYMLINK: refuses(changesFiles), unix.SYS_MKNOD: refuses(changesFiles), unix.SYS_CHMOD: refuses(changesFiles),
	unix.SYS_CHOWN: refuses(changesFiles), unix.SYS_LCHOWN: refuses(changesFiles), unix.SYS_UTIME: refuses(changesFiles), unix.SYS_UTIMES: refuses(changesFiles),
	unix.SYS_FORK: refuses(startsProcess), unix.SYS_VFORK: refuses(startsProcess), unix.SYS_PIPE: refuses(opensPipe), unix.SYS_ALARM: refuses(setsTimer),
	unix.SYS_PAUSE: refuses(waits), unix.SYS_POLL: refuses(waits), unix.SYS_SELECT: refuses(waits), unix.SYS_GETPGRP: refuses(looksAtProcess),
}
