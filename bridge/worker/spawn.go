package worker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/proc"
)

// maker makes processes: by running a program, or by asking a zygote to fork.
type maker interface {
	// spawn makes the process of x. After an error nothing of it is left.
	spawn(x *peer) (spawned, error)
}

// spawned is a process that has been made.
type spawned struct {
	pid    int
	forked bool // a zygote has made it
	output *output
	// wait returns how the process has ended, in the words of os.ProcessState, when it has.
	wait func() string
}

// program runs the command of Options.Start.
type program struct{ preload bool }

func (s program) spawn(x *peer) (spawned, error) {
	g := x.group
	setup := Setup{
		Dir:     g.home.dir,
		Socket:  filepath.Join(g.home.dir, "socket"),
		Token:   x.token,
		Worker:  x.id,
		Preload: s.preload,
	}
	if s.preload {
		setup.Worker = 0
	} else {
		setup.Listen = x.address
	}
	if g.opt.Listen {
		setup.User = strconv.Itoa(g.opt.User)
	}
	cmd, input, err := g.opt.Start(setup)
	if err != nil {
		return spawned{}, err
	}
	spec, err := proc.FromCommand(cmd)
	if err != nil {
		return spawned{}, fmt.Errorf("start a worker: %w", err)
	}
	output, err := x.captureOutput()
	if err != nil {
		return spawned{}, err
	}
	process, stdin, err := startWith(spec, output.write)
	output.started(err)
	if err != nil {
		return spawned{}, fmt.Errorf("start a worker: %w", err)
	}
	g.tasks.Go(func() {
		// A write fails if the process ends before it has read its configuration. The report of its
		// end says more.
		_, _ = stdin.Write(input)
		_ = stdin.Close()
	})
	wait := func() string {
		exit := process.Wait()
		_ = stdin.SetWriteDeadline(time.Now()) // fails if all was written
		return exit.String()
	}
	return spawned{pid: process.Pid(), output: output, wait: wait}, nil
}

// startWith starts a process whose output and standard error go to output. The process reads from
// its standard input what the caller writes to stdin.
func startWith(spec proc.Spec, output *os.File) (process *proc.Process, stdin *os.File, err error) {
	input, stdin, err := os.Pipe()
	if err != nil {
		return nil, nil, err
	}
	spec.Files = []uintptr{input.Fd(), output.Fd(), output.Fd()}
	process, err = proc.Start(spec)
	if err = errors.Join(err, input.Close()); err != nil {
		if process != nil {
			process.End(0)
		}
		return nil, nil, errors.Join(err, stdin.Close())
	}
	return process, stdin, nil
}
