package host

import (
	"context"
	"log/slog"
	"os/exec"
	"strconv"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/mux"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// wireWorkers are the worker processes of a plugin of the protocol "wire". They are a backend. mux.Workers keeps them
// running.
type wireWorkers struct {
	opt     *Plugin
	log     *slog.Logger
	limiter *limiter
	workers *mux.Workers
}

func newWire(p *Plugin) *wireWorkers {
	w := &wireWorkers{opt: p, log: p.Logger.With("mount", p.Name), limiter: newLimiter(p.LogRate)}
	w.workers = mux.NewWorkers(mux.WorkersOptions{
		Processes: worker.Processes{Workers: max(1, p.Workers), MaxRequests: p.MaxRequests, MaxRSS: p.MaxRSS},
		Limits:    worker.Limits{StartTimeout: p.StartTimeout, KillAfter: p.KillAfter},
		Name:      p.Name, Start: w.command, Logger: w.limiter.logger(p.Logger),
	})
	return w
}

// command returns the command of a worker and its configuration.
func (w *wireWorkers) command(s worker.Setup) (*exec.Cmd, []byte, error) {
	p := w.opt
	path, err := p.program()
	if err != nil {
		return nil, nil, err
	}
	if err := p.verify(path); err != nil {
		return nil, nil, err
	}
	config, err := p.configJSON()
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.Command(path, p.Command[1:]...)
	cmd.Dir, cmd.Env = p.Dir, p.environ("")
	pairs := []string{
		"socket", s.Socket, "token", s.Token, "name", p.Name, "workers", strconv.Itoa(max(1, p.Workers)), "worker", strconv.Itoa(s.Worker),
		"environment", p.Environment, "config", string(config),
	}
	return cmd, wire.AppendPairs(nil, pairs...), nil
}

func (w *wireWorkers) start(ctx context.Context) error { return w.workers.Start(ctx) }

func (w *wireWorkers) stop(ctx context.Context) error {
	err := w.workers.Stop(ctx)
	w.limiter.flush(w.log)
	return err
}

func (w *wireWorkers) reload(ctx context.Context) error { return w.workers.Reload(ctx) }

func (w *wireWorkers) serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send, chosen func(worker, pid int)) error {
	return w.workers.ServeBy(ctx, scope, receive, send, chosen)
}

func (w *wireWorkers) absence() (why string, retry time.Duration) {
	now := w.workers.Status()
	if now.Problem != "" {
		return "no worker can be started: " + now.Problem, time.Until(now.NextStart)
	}
	return "none of its workers can take a scope", time.Second
}

func (w *wireWorkers) status() status.Backend { return w.workers.Status() }
