//go:build unix

package hung

import (
	"time"

	"github.com/pagi-go/pagi-bridge/internal/proc"
	"github.com/pagi-go/pagi-bridge/internal/status"
)

const (
	// Patience is the longest time that Examine takes.
	Patience = 500 * time.Millisecond
	// gentleTime is how much of it is left to the handler that runs between two steps of the Perl program.
	gentleTime = 100 * time.Millisecond
)

// Process is a process to be examined.
type Process struct {
	PID int
	// Signal is that of its handler. Inbox gets what it prints; nil: it is no Perl process of ours.
	Signal Signal
	Inbox  *Inbox
	// HasEnded reports whether its number may be another one's. Hurry, if not nil, is closed when there is no more time.
	HasEnded func() bool
	Hurry    <-chan struct{}
}

// Examine finds out where a process is that is about to be ended. It takes Patience at most. The caller holds no lock. A
// process that is not ours to look at, or has ended, has nothing to tell.
func Examine(p Process) (h status.Hang) {
	h = status.Hang{At: time.Now(), PID: p.PID}
	handle := proc.Open(p.PID)
	defer handle.Close()
	if p.HasEnded() { // looked at behind Open: now the handle is that process's
		h.NoPerl = "it has ended"
		return h
	}
	var d dispositions
	h.Kernel, d = look(p.PID)
	if p.Inbox == nil {
		return h
	}
	h.Perl, h.NoPerl = ask(p, handle, h.Kernel, d, Patience-time.Since(h.At))
	return h
}

// ask asks the process for its stack, and waits for patience. One that waits in the kernel gets the signal whose handler
// interrupts it there. One that runs first gets the other signal, whose handler runs between two steps of the program: in the
// middle of a step the handler could ruin the process. Without an answer ask says why there is none.
func ask(p Process, handle *proc.Handle, kernel *status.Kernel, d dispositions, patience time.Duration) (frames []string, why string) {
	gentle, hard := numbers(p.Signal)
	switch {
	case hard == 0:
		return nil, "it is not asked (stack_signal)"
	case !d.caught(gentle) && !d.caught(hard):
		return nil, "it has no handler"
	case kernel != nil && kernel.State != "" && kernel.State[0] == 'D':
		return nil, "the kernel lets no signal through"
	case kernel != nil && kernel.State != "" && (kernel.State[0] == 'T' || kernel.State[0] == 't'):
		return nil, "it is stopped"
	}
	answer := p.Inbox.open()
	defer p.Inbox.close()
	ended := time.NewTimer(patience)
	defer ended.Stop()
	if d.caught(gentle) && (isRunning(kernel) || !d.caught(hard)) {
		handle.Signal(gentle)
		next := time.NewTimer(gentleTime)
		defer next.Stop()
		select {
		case frames = <-answer:
			return frames, ""
		case <-p.Hurry:
			return nil, "there was no time"
		case <-next.C:
		}
	}
	if d.caught(hard) && !p.HasEnded() {
		handle.Signal(hard)
	}
	select {
	case frames = <-answer:
		return frames, ""
	case <-p.Hurry:
		return nil, "there was no time"
	case <-ended.C:
		return nil, "it has not answered in " + Patience.String()
	}
}

// isRunning reports whether a process is not seen to wait.
func isRunning(k *status.Kernel) bool {
	return k == nil || k.State == "" || k.State[0] == 'R' || k.Syscall == noCall
}
