package command

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"time"
)

// restarter starts the program again, to replace this process.
type restarter struct {
	gateway  *gateway
	launcher *launcher
	// handOver stops this process from serving once the new one serves.
	handOver func(pid int)
}

// run restarts at each signal until ctx ends, or another process has taken over.
func (r *restarter) run(ctx context.Context, signals <-chan os.Signal) {
	for {
		select {
		case <-signals:
		case <-ctx.Done():
			return
		}
		if r.restart(ctx) {
			return
		}
	}
}

// restartExtra is how long a new process may take in addition to the start of the applications.
const restartExtra = 30 * time.Second

// errFirstProcess says that the first process of a container cannot be replaced: the container
// would end with it.
var errFirstProcess = errors.New("this is process 1, which cannot be replaced; start another container instead")

func (r *restarter) restart(ctx context.Context) (done bool) {
	log := r.gateway.logs.logger
	began := time.Now()
	log.Info("restart: begun", "program", r.launcher.program)
	r.gateway.logs.share(true)
	pid, err := r.start(ctx)
	switch {
	case err == nil:
		log.Info("restart: the new process serves; this one finishes its requests", "pid", pid,
			"took", time.Since(began).Round(time.Millisecond).String())
		r.handOver(pid)
		return true
	case ctx.Err() != nil:
		r.goOn()
		log.Info("restart: given up, because the gateway stops")
	default:
		r.goOn()
		log.Error("restart: failed; this process goes on", "error", err)
	}
	return false
}

// goOn takes back the logs and the pid file after a new process has failed.
func (r *restarter) goOn() {
	r.gateway.logs.share(false)
	if err := r.gateway.pid.write(); err != nil {
		r.gateway.logs.logger.Error("cannot write the pid file again", "error", err)
	}
}

func (r *restarter) start(ctx context.Context) (pid int, err error) {
	if os.Getpid() == 1 {
		return 0, errFirstProcess
	}
	sockets, err := r.gateway.server.Sockets()
	if err != nil {
		return 0, err
	}
	if startup := r.gateway.current().Settings.Timeouts.WithDefaults().LifespanStartupTimeout; startup > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, startup+restartExtra, errors.New("the new process was not ready in time"))
		defer cancel()
	}
	wait, err := r.gateway.besideEnd()
	if err != nil {
		return 0, err
	}
	defer func() { _ = wait.Close() }() // only read from
	return r.launcher.start(ctx, &takeover{Predecessor: os.Getpid(), pidFile: r.gateway.pid.locked(), beside: wait, Adapters: r.gateway.adapters.States()}, sockets, func(cmd *exec.Cmd) {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	})
}
