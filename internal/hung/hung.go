// Package hung finds out where a process hangs, right before it is ended because it has taken too long.
//
// Two sides tell. The kernel says in /proc what the process waits for: Look reads that, and changes nothing (kernel_linux.go).
// A process of the Perl runtime also has handlers for two signals that write the Perl stack to its standard error
// (perl/lib/PagiBridge/Stack.pm). Examine asks for it and waits a moment (examine.go); an Inbox takes the line out of what the
// process prints (inbox.go). Decision 40 says why there are two signals, and why only a process that is about to be ended gets
// them.
package hung

import (
	"log/slog"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/status"
)

// noCall stands in place of the system call of a process that is in none.
const noCall = "none, it is running"

// Log logs where a process was, in one record. log names the mount and the process.
func Log(log *slog.Logger, h *status.Hang) {
	log.Warn("where it hung", Attributes(h)...)
}

// Attributes are what a log record says of a hang. What is not known is left out.
func Attributes(h *status.Hang) (attrs []any) {
	if h.Request != nil {
		attrs = append(attrs, "request", h.Request.Method+" "+h.Request.Path)
		if h.Request.ID != "" {
			attrs = append(attrs, "request_id", h.Request.ID)
		}
		attrs = append(attrs, "running_for", h.At.Sub(h.Request.Since).Round(time.Millisecond))
	}
	if h.Reason != "" {
		attrs = append(attrs, "reason", h.Reason)
	}
	if len(h.Perl) > 0 {
		attrs = append(attrs, "perl", strings.Join(h.Perl, " < "))
	} else if h.NoPerl != "" {
		attrs = append(attrs, "no_perl", h.NoPerl)
	}
	return append(attrs, KernelAttributes(h.Kernel)...)
}

// KernelAttributes are what a log record says of a process as the kernel sees it.
func KernelAttributes(k *status.Kernel) (attrs []any) {
	if k == nil {
		return nil
	}
	attrs = append(attrs, "state", k.State)
	if k.Syscall != "" {
		attrs = append(attrs, "syscall", k.Syscall)
	}
	if k.Wchan != "" {
		attrs = append(attrs, "wchan", k.Wchan)
	}
	if len(k.Stack) > 0 {
		attrs = append(attrs, "kernel_stack", strings.Join(k.Stack, " < "))
	}
	return attrs
}
