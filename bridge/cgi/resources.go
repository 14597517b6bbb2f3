//go:build unix

package cgi

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/proc"
)

// limitError says that a script ran into a limit.
type limitError struct {
	what   string // completes "the script ..."
	option string
	limit  any
	status int
}

func (e *limitError) Error() string {
	return fmt.Sprintf("%s (option %s, %v)", e.what, e.option, e.limit)
}

// kernelLimits returns the limits that the kernel has to know before a script begins.
func (c *CGI) kernelLimits() proc.Limits {
	return proc.Limits{CPU: c.CPUTime, CPUGrace: c.KillAfter, Memory: c.Memory, Processes: c.Processes, OpenFiles: c.OpenFiles, Nice: c.Nice}
}

// checkResources checks what the kernel is asked to limit.
func (a *app) checkResources() error {
	if a.OutputSize < 0 {
		return fmt.Errorf("output_size: must not be negative, is %d", a.OutputSize)
	}
	for _, c := range []struct {
		option string
		given  bool
		wrong  bool
		want   string
	}{
		{"cpu_time", a.CPUTime != 0, a.CPUTime < time.Second, "must be at least 1s"},
		{"memory", a.Memory != 0, a.Memory < 1<<20, "must be at least 1048576 bytes (1 MiB)"},
		{"processes", a.Processes != 0, a.Processes < 1, "must be at least 1"},
		{"open_files", a.OpenFiles != 0, a.OpenFiles < 3, "must be at least 3"},
		{"nice", a.Nice != 0, a.Nice < -20 || a.Nice > 19, "must be -20 to 19"},
		{"nice", a.Nice != 0, a.Nice < 0 && os.Geteuid() != 0, "must not be negative where the gateway is not root"},
	} {
		switch {
		case c.given && !proc.LimitsWork:
			return fmt.Errorf("%s: is there on Linux only", c.option)
		case c.given && c.wrong:
			return fmt.Errorf("%s: %s", c.option, c.want)
		}
	}
	if a.Processes != 0 && a.User == "" && os.Geteuid() == 0 {
		return errors.New("processes: the kernel does not count root's; set user")
	}
	return nil
}

// marks are what programs write to standard error when a limit stops them, in lower
// case.
var marks = map[string][]string{
	"memory":     {"out of memory", "memoryerror", "cannot allocate memory", "bad_alloc", "memory exhausted", "heap limit"},
	"processes":  {"resource temporarily unavailable", "cannot fork", "can't fork"},
	"open_files": {"too many open files"},
}

// watchedMarks returns the marks of the options that are set.
func (a *app) watchedMarks() map[string][]string {
	var watched map[string][]string
	for option, set := range map[string]bool{"memory": a.Memory != 0, "processes": a.Processes != 0, "open_files": a.OpenFiles != 0} {
		if set {
			if watched == nil {
				watched = map[string][]string{}
			}
			watched[option] = marks[option]
		}
	}
	return watched
}

// limitHit says into which of the kernel's limits a run went that failed, nil where
// none can be told. A program that is refused memory ends in its own way: by what it
// writes to standard error, or by a signal when nearly all of it was used.
func (r *run) limitHit(exit proc.Exit) error {
	a, status, usage := r.app, exit.Status, &exit.Usage
	used := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	const shellsXCPU = 128 + int(syscall.SIGXCPU) // a shell whose child it ended
	switch {
	case status == 0:
		return nil
	case a.CPUTime != 0 && (status.Signal() == syscall.SIGXCPU || status.ExitStatus() == shellsXCPU ||
		status.Signal() == syscall.SIGKILL && !isClosed(r.killed) && used >= a.CPUTime):
		return &limitError{"it used too much processor time", "cpu_time", a.CPUTime, 504}
	case a.Memory != 0 && (r.stderr.marked == "memory" || status.Signaled() && int64(usage.Maxrss)<<10 >= a.Memory/10*8):
		return &limitError{"it needed too much memory", "memory", a.Memory, 507}
	case r.stderr.marked == "processes":
		return &limitError{"it started too many processes", "processes", a.Processes, 503}
	case r.stderr.marked == "open_files":
		return &limitError{"it opened too many files", "open_files", a.OpenFiles, 503}
	}
	return nil
}
