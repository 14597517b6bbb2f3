//go:build unix

package beside

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/proc"
)

// Program is what is run.
type Program struct {
	// Name is for people: in the log and in the status.
	Name string
	// Args are the program's file, absolute, and its arguments.
	Args []string
	// Dir is where it begins, Env its environment.
	Dir string
	Env []string
	// Late returns further variables and arguments when it is started; nil: none.
	Late func() (env, args []string, err error)
	// Mark is what else tells it from another program: what Late depends on.
	Mark string
	// User and Group are whose it is; "": the gateway's.
	User, Group string
	// StopSignal tells it to end. It is killed after StopTimeout.
	StopSignal  syscall.Signal
	StopTimeout time.Duration
}

// key is the same for programs that are the same.
func (p *Program) key() string {
	return fmt.Sprintf("%q %q %q %q %q %q %q %d %d", p.Name, p.Args, p.Dir, p.Env, p.Mark, p.User, p.Group, p.StopSignal, p.StopTimeout)
}

// run is a running program.
type run struct {
	*proc.Process
	program *Program
	since   time.Time
	output  *os.File
	copied  chan struct{} // closed when its output is in the log
	hurry   chan struct{} // closed when it is to be killed
	once    sync.Once
}

// outputGrace is how long the output of a program that has ended may be open: a process that has left the group may have it.
const outputGrace = 500 * time.Millisecond

// start starts the program. log gets what it prints.
func (p *Program) start(log *slog.Logger) (*run, error) {
	user, err := proc.LookupUser(p.User, p.Group)
	if err != nil {
		return nil, err
	}
	profile, err := proc.NewProfile(user, proc.Limits{})
	if err != nil {
		return nil, err
	}
	env, args := p.Env, p.Args
	if p.Late != nil {
		moreEnv, moreArgs, err := p.Late()
		if err != nil {
			return nil, err
		}
		env, args = append(env[:len(env):len(env)], moreEnv...), append(args[:len(args):len(args)], moreArgs...)
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer func() { _ = null.Close() }() // only read from
	output, input, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	process, err := proc.Start(proc.Spec{
		Args: args, Dir: p.Dir, Env: env, Files: []uintptr{null.Fd(), input.Fd(), input.Fd()}, Profile: profile, DiesWithParent: true,
	})
	err = errors.Join(err, input.Close())
	if err != nil {
		if process != nil {
			process.End(0)
		}
		return nil, errors.Join(err, output.Close())
	}
	r := &run{Process: process, program: p, since: time.Now(), output: output, copied: make(chan struct{}), hurry: make(chan struct{})}
	go func() {
		defer close(r.copied)
		copyLines(output, log)
	}()
	r.Watch()
	return r, nil
}

// finish waits for its end, or tells it to end when stop is closed, and returns how it ended. Nothing of its group is left
// then.
func (r *run) finish(stop <-chan struct{}) proc.Exit {
	select {
	case <-r.Done():
	case <-stop:
		r.Signal(r.program.StopSignal)
		late := time.NewTimer(r.program.StopTimeout)
		defer late.Stop()
		select {
		case <-r.Done():
		case <-late.C:
			r.Signal(syscall.SIGKILL)
		case <-r.hurry:
			r.Signal(syscall.SIGKILL)
		}
	}
	exit := r.Finish()
	_ = r.output.SetReadDeadline(time.Now().Add(outputGrace)) // without it the rest is read until the last process ends
	<-r.copied
	_ = r.output.Close() // only read from
	return exit
}

// kill has finish kill the program, if it is to end.
func (r *run) kill() { r.once.Do(func() { close(r.hurry) }) }
