package command

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"time"
)

// restarter starts the program anew in this process's place.
type restarter struct {
	gateway  *gateway
	launcher *launcher
	// handOver ends this process's serving once the new one serves.
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

// restartExtra is what a new process may take beside the start of the applications.
const restartExtra = 30 * time.Second

// errFirstProcess is why the first process of a container stays: with it the container
// would end.
var errFirstProcess = errors.New("this is process 1, which cannot be replaced; start another container instead")

func (r *restarter) restart(ctx context.Context) (done bool) {
	log := r.gateway.logs.logger
	began := time.Now()
	log.Info("restart: begun", "program", r.launcher.program)
	r.gateway.logs.share(true)
	pid, err := r.start(ctx)
	switch {
	case err == nil:
		log.Info("restart: the new process serves, this one finishes what it has", "pid", pid,
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

// goOn takes back what a process that does not serve after all may have.
func (r *restarter) goOn() {
	r.gateway.logs.share(false)
	if err := r.gateway.pid.write(); err != nil {
		r.gateway.logs.logger.Error("pid file", "error", err)
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
	if startup := r.gateway.current().Settings.StartupTimeout(); startup > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, startup+restartExtra, errors.New("it was not ready in time"))
		defer cancel()
	}
	return r.launcher.start(ctx, &takeover{Predecessor: os.Getpid(), pidFile: r.gateway.pid.locked()}, sockets, func(cmd *exec.Cmd) {
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	})
}
