//go:build unix

// Package proc starts processes, waits for their ends, ends them, and says how they ended. It is for the rooms that run
// programs of other people; it knows nothing of what they run.
//
// A process that Start starts leads a process group of its own. So a signal that is typed at the terminal does not reach
// it, and everything that it has started can be ended with it.
//
//	profile, err := proc.NewProfile(user, proc.Limits{Memory: 64 << 20})
//	p, err := proc.Start(proc.Spec{Args: []string{"/bin/sh", "-c", "exit 3"}, Files: files, Profile: profile})
//	p.Signal(syscall.SIGTERM)
//	fmt.Println(p.Finish()) // signal: terminated
//
// The files: proc.go starts a process; process.go is its life, watcher.go the wait for its end, process_linux.go and process_other.go how its end is
// waited for; group.go is a process group; exit.go is how a process ended; handle.go and its systems' files are for
// processes that are not children of this one; user.go looks users up; profile.go and limits.go, with their systems'
// files, are as whom a process runs and within which limits; resident.go tells the memory of a process; peer_linux.go and
// peer_other.go tell who has connected; inherit.go keeps descriptors from processes.
package proc

import (
	"errors"
	"os/exec"
	"syscall"
)

// NoFile stands in Spec.Files for a descriptor that the process does not get.
const NoFile = ^uintptr(0)

// Spec says what Start starts.
type Spec struct {
	// Path is the program's file. The default is Args[0]. Where the program prlimit sets the limits of Profile, it looks the
	// program up by Args[0].
	Path string
	// Args are the arguments that the program sees, its own name first.
	Args []string
	// Dir is the directory it begins in, "" for that of this process.
	Dir string
	// Env is its environment, "NAME=VALUE". A process gets no other variables.
	Env []string
	// Files are its descriptors from 0 on. It gets no others.
	Files []uintptr
	// Profile says as whom it runs and within which limits; nil means as this process does.
	Profile *Profile
	// DiesWithParent has the kernel kill it when this process dies. Only Linux can. Linux sends the signal when the thread
	// that called Start ends. Go ends a thread only when a goroutine exits while locked to it.
	DiesWithParent bool
	// Traced leaves the process stopped before its first instruction. The calling goroutine must be locked to its
	// thread, which is the tracer. Linux only.
	Traced bool
}

// FromCommand returns the Spec of what cmd would run, without its streams. ExtraFiles and SysProcAttr are an error,
// because Start sets what they would.
func FromCommand(cmd *exec.Cmd) (Spec, error) {
	if cmd.Err != nil {
		return Spec{}, cmd.Err
	}
	if len(cmd.ExtraFiles) > 0 || cmd.SysProcAttr != nil {
		return Spec{}, errors.New("the command must not set ExtraFiles or SysProcAttr")
	}
	return Spec{Path: cmd.Path, Args: cmd.Args, Dir: cmd.Dir, Env: cmd.Environ()}, nil
}

// Start starts a process. The limits of its profile hold before its first instruction. After an error nothing of it
// is left. Otherwise Wait or Finish must be called.
func Start(s Spec) (*Process, error) {
	hideOnce()
	p := newProcess(-1)
	attr := &syscall.ProcAttr{Dir: s.Dir, Env: s.Env, Files: s.Files, Sys: p.attributes(s.DiesWithParent)}
	if s.Path == "" {
		s.Path = s.Args[0]
	}
	var err error
	if p.pid, err = s.Profile.start(s, attr); err == nil {
		return p, nil
	}
	if p.pid != 0 { // it runs, but without its limits
		p.Signal(syscall.SIGKILL)
		p.Finish()
	}
	return nil, s.explain(err)
}
