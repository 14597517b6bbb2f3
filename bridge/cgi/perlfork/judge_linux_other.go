//go:build linux && (arm64 || riscv64)

package perlfork

import "golang.org/x/sys/unix"

// legacyRules are those of system calls that have another name here.
var legacyRules = map[uint64]rule{
	unix.SYS_FSTATAT: func(j *judge, a *[6]uint64) string { return j.lookAtEither(a[0], a[1], a[3]) },
}
