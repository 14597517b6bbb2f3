//go:build unix

package job

import (
	"time"

	"github.com/pagi-go/pagi-bridge/internal/proc"
)

// Own is the job of a process that runs one request and ends with it.
type Own struct {
	*proc.Process
	out, errs *Pipe
	said      []byte
}

// NewOwn returns the job of a process with these pipes. said is what the script wrote to standard error before.
func NewOwn(p *proc.Process, out, errs *Pipe, said []byte) *Own {
	out.CloseTheirs()
	errs.CloseTheirs()
	return &Own{p, out, errs, said}
}

// Read reads the output.
func (o *Own) Read(p []byte) (int, error) { return o.out.Read(p) }

// Out returns the pipe of the output.
func (o *Own) Out() *Pipe { return o.out }

// Errs returns the pipe of standard error.
func (o *Own) Errs() *Pipe { return o.errs }

// Said returns what NewOwn was told.
func (o *Own) Said() []byte { return o.said }

// IsOver returns false: the process does not stay.
func (o *Own) IsOver() bool { return false }

// IsFinished reports whether Finish was called.
func (o *Own) IsFinished() bool { return o.IsReaped() }

// Settle waits for the end, for about the given time, and finishes the job when it has come.
func (o *Own) Settle(patience time.Duration) (proc.Exit, bool) {
	if !o.EndsWithin(patience) {
		return proc.Exit{}, false
	}
	return o.Finish(), true
}

// Close closes the pipes.
func (o *Own) Close(bool) {
	o.out.Close()
	o.errs.Close()
}
