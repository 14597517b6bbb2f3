package pool

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
)

// maker is what makes processes: a program that is run, or a zygote that forks.
type maker interface {
	// spawn makes the process of x. After an error nothing of it is left.
	spawn(x *peer) (spawned, error)
}

// spawned is a process that has been made.
type spawned struct {
	pid    int
	forked bool // by a zygote
	output *output
	// wait returns when it has ended: how, in the words of os.ProcessState.
	wait func() string
}

// program runs the command of Options.Start.
type program struct{ preload bool }

func (s program) spawn(x *peer) (spawned, error) {
	p := x.pool
	setup := Setup{
		Dir:     p.dir,
		Socket:  filepath.Join(p.dir, "socket"),
		Token:   x.token,
		Worker:  x.id,
		Preload: s.preload,
	}
	if s.preload {
		setup.Worker = 0
	}
	cmd, input, err := p.opt.Start(setup)
	if err != nil {
		return spawned{}, err
	}
	cmd.Stdin = strings.NewReader(string(input))
	isolate(cmd)
	output, err := x.captureOutput(cmd)
	if err != nil {
		return spawned{}, err
	}
	err = cmd.Start()
	output.started(err)
	if err != nil {
		return spawned{}, fmt.Errorf("start a worker: %w", err)
	}
	wait := func() string {
		// The error only repeats the state, or says that the input was not read.
		_ = cmd.Wait()
		return cmd.ProcessState.String()
	}
	return spawned{pid: cmd.Process.Pid, output: output, wait: wait}, nil
}

// exitWords says how a process ended, in the words of os.ProcessState. The status
// is that of waitpid.
func exitWords(status uint32) string {
	words := fmt.Sprintf("exit status %d", status>>8&0xff)
	if signal := syscall.Signal(status & 0x7f); signal != 0 {
		words = "signal: " + signal.String()
	}
	if status&0x80 != 0 {
		words += " (core dumped)"
	}
	return words
}
