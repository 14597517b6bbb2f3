//go:build unix

// Package job is what the modes of a CGI mount have in common: a script at work on one request, whatever the process is
// that runs it. Package cgi starts a process for a request, package perlfork has one forked or lends one that stays; both
// give a Job, and what follows is the same.
//
// job.go is the interface, own.go the process that ends with its request, pipe.go what connects a process and us.
package job

import (
	"io"
	"syscall"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/proc"
)

// Job is a script at work on one request. Reading it reads the script's output; io.EOF is its end.
//
//	running --the end is seen--> ended --Finish--> finished --Close--> closed
//	   |                                             ^
//	   +----------- over: the process stays ---------+
//
// A job is over when its script has ended while its process stays for another request. The process belongs to this job
// until Close. Read, IsOver, IsFinished, Settle, Finish and Close are for one goroutine; the others may be called by any.
type Job interface {
	io.Reader
	// Pid returns the process's number.
	Pid() int
	// Out and Errs return the pipes of the output and of standard error, for their deadlines.
	Out() *Pipe
	Errs() *Pipe
	// Said returns what the script wrote to standard error before it had this request.
	Said() []byte

	// Done returns a channel that is closed when the end has been seen; see proc.Process.
	Done() <-chan struct{}
	// OnEnd has f called when a watch has seen the process's end. It must be called before the methods that look for it.
	OnEnd(f func())
	// Watch has a goroutine wait for the end.
	Watch()
	// EndsWithin waits for the end for about the given time and reports whether it came.
	EndsWithin(time.Duration) bool
	// Signal sends a signal to all processes of the script. It does nothing once the job is over or finished.
	Signal(syscall.Signal)

	// IsOver reports whether the script has ended and its process stays.
	IsOver() bool
	// IsFinished reports whether nothing of the job goes on.
	IsFinished() bool
	// Settle waits for the end, for about the given time, and returns how the script ended. Where it has ended and the
	// process with it, that includes Finish.
	Settle(time.Duration) (exit proc.Exit, ended bool)
	// Finish waits for the end, kills what is left of the script, and returns how it ended. Of a job that is over it only
	// tells how.
	Finish() proc.Exit
	// Close gives back the process of a job that is over, and closes the pipes of others. deadlines says whether the
	// pipes were given deadlines.
	Close(deadlines bool)
}
