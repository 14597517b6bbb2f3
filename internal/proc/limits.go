//go:build unix

package proc

import (
	"errors"
	"time"
)

// Limits are what the kernel holds a process to, and each of its children. 0 means no limit. Linux only.
type Limits struct {
	// CPU is the processor time that a process may use (RLIMIT_CPU), in whole seconds, rounded up. At the limit
	// the process gets XCPU. After CPUGrace of further processor time it gets KILL.
	CPU, CPUGrace time.Duration
	// Memory is how many bytes of memory of its own a process may have (RLIMIT_DATA).
	Memory int64
	// Processes is how many processes and threads the process's user may have in all (RLIMIT_NPROC). The kernel does not
	// count those of root.
	Processes int
	// OpenFiles is how many descriptors a process may have (RLIMIT_NOFILE).
	OpenFiles int
	// Nice is added to the priority value; the sum is held to -20 to 19.
	Nice int
}

// isSet reports whether there is any limit.
func (l *Limits) isSet() bool {
	return l.CPU != 0 || l.Memory != 0 || l.Processes != 0 || l.OpenFiles != 0 || l.Nice != 0
}

// CPUSeconds returns the limits of processor time as the kernel has them: XCPU comes after the first, KILL after the
// second. Both are 0 where there is no limit.
func (l *Limits) CPUSeconds() (soft, hard uint64) {
	if l.CPU == 0 {
		return 0, 0
	}
	soft = wholeSeconds(l.CPU)
	return soft, soft + wholeSeconds(l.CPUGrace)
}

// wholeSeconds rounds up.
func wholeSeconds(d time.Duration) uint64 {
	n := uint64(d / time.Second)
	if d%time.Second > 0 {
		n++
	}
	return n
}

// Errors of NewProfile.
var (
	// ErrNoLauncher: limits of another user's process need the capability SYS_RESOURCE or util-linux's program prlimit.
	ErrNoLauncher = errors.New("it needs the capability SYS_RESOURCE or the program prlimit (util-linux)")
	// ErrNoNice: a negative Nice needs the capability SYS_NICE. So does a positive one of another user's process, where
	// there is no program nice.
	ErrNoNice = errors.New("nice needs the capability SYS_NICE, or for a value above 0 the program nice (coreutils)")
	// ErrNoStop: limits need a process that can be stopped before its first instruction.
	ErrNoStop = errors.New("a process cannot be stopped at its begin here")
)
