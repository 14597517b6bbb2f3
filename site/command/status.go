package command

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/lines"
	"github.com/pagi-go/pagi-bridge/internal/status"
)

// report describes the gateway at this moment.
func (g *gateway) report() *status.Gateway {
	s := g.current()
	r := &status.Gateway{Version: version(), PID: os.Getpid(), Environment: s.Settings.Environment, Since: g.began}
	r.Draining, r.Stops = s.Draining(), g.drainer.Stops()
	r.Server, _ = g.server.Status() // the zero status while it begins or ends
	r.Responses = g.metrics.Responses()
	for _, m := range s.All() {
		r.Mounts = append(r.Mounts, m.Status())
	}
	r.Adapters = g.adapters.Status()
	r.Shared = g.shared.Status()
	r.Services, r.Cron = g.programs.Status()
	r.Logs = reportLogs(g.logs.stats())
	return r
}

// reportLogs describes the logs that have lost lines.
func reportLogs(all map[string]lines.Stats) (list []status.Log) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		stats := all[name]
		if stats.Lost == 0 {
			continue
		}
		one := status.Log{Log: name, Lost: stats.Lost}
		if stats.Err != nil {
			one.Problem = stats.Err.Error()
		}
		list = append(list, one)
	}
	return list
}

// statusTime is how long a gateway may take to tell its status.
const statusTime = 10 * time.Second

// statusCommand is the command "pagi-bridge status".
func statusCommand() *command {
	c := newCommand("status", "", "Tell what a running gateway is doing.")
	asJSON := c.flags.Bool("json", false, "print JSON instead of text")
	find := socketFlags(c.flags)
	c.run = func(ctx context.Context, p Process) int {
		if c.flags.NArg() > 0 {
			return complain(p, ExitUsage, fmt.Errorf("unexpected argument %q", c.flags.Arg(0)))
		}
		return showStatus(ctx, find, *asJSON, p)
	}
	return c
}

func showStatus(ctx context.Context, find func() (string, error), asJSON bool, p Process) int {
	socket, err := find()
	if err != nil {
		return complain(p, ExitUsage, err)
	}
	ctx, cancel := context.WithTimeout(ctx, statusTime)
	defer cancel()
	if asJSON {
		text, err := askGateway(ctx, socket, http.MethodGet, "", nil)
		if err != nil {
			return complain(p, ExitFailure, err)
		}
		return say(p, text)
	}
	r, err := askStatus(ctx, socket)
	if err != nil {
		return complain(p, ExitFailure, err)
	}
	return say(p, statusText(r, time.Now()))
}
