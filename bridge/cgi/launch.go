//go:build unix

package cgi

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/cgi/internal/job"
	"github.com/pagi-go/pagi-bridge/bridge/cgi/perlfork"
	"github.com/pagi-go/pagi-bridge/internal/proc"
)

// A script that is just being written cannot be started. It is tried again that often,
// with that much time between.
const (
	busyTries = 10
	busyWait  = 10 * time.Millisecond
)

// launch has s run for a request whose body is read from stdin: by a process that has compiled it, where there is
// one (compiled), else by a new process.
func (a *app) launch(ctx context.Context, s script, env []string, stdin int) (j job.Job, compiled bool, err error) {
	if j := a.perl.Run(ctx, perlfork.Request{File: s.file, Interpreter: s.interpreter, Env: env, Stdin: stdin}); j != nil {
		return j, true, nil
	}
	j, err = a.exec(ctx, s, env, stdin)
	return j, false, err
}

// exec starts a process for a run. It begins in the script's directory and has exactly three descriptors.
func (a *app) exec(ctx context.Context, s script, env []string, stdin int) (job.Job, error) {
	out, errs, err := job.Outputs()
	if err != nil {
		return nil, err
	}
	spec := proc.Spec{
		Args: []string{s.file}, Dir: filepath.Dir(s.file), Env: env,
		Files:   []uintptr{uintptr(stdin), uintptr(out.Theirs()), uintptr(errs.Theirs())},
		Profile: a.profile, DiesWithParent: true,
	}
	if s.interpreter != "" {
		spec.Args = []string{s.interpreter, s.file}
	}
	p, err := proc.Start(spec)
	for tries := 0; errors.Is(err, syscall.ETXTBSY) && tries < busyTries && ctx.Err() == nil; tries++ {
		time.Sleep(busyWait)
		p, err = proc.Start(spec)
	}
	if err != nil {
		out.Close()
		errs.Close()
		return nil, err
	}
	return job.NewOwn(p, out, errs, nil), nil
}

// setProfile looks up as whom scripts run, and finds out how their limits can be set here.
func (a *app) setProfile() error {
	user, err := proc.LookupUser(a.User, a.Group)
	if err != nil {
		return err
	}
	a.profile, err = proc.NewProfile(user, a.kernelLimits())
	switch {
	case errors.Is(err, proc.ErrNoLauncher):
		return fmt.Errorf("user: with cpu_time, memory, processes, open_files or nice %w", err)
	case err != nil:
		return fmt.Errorf("cpu_time, memory, processes, open_files, nice: %w", err)
	}
	return nil
}
