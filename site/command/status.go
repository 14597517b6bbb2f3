package command

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/spf13/pflag"

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

// showStatus is the command "pagi-bridge status".
func showStatus(ctx context.Context, args []string, p Process) int {
	flags := pflag.NewFlagSet("pagi-bridge status", pflag.ContinueOnError)
	flags.Usage = func() {}
	asJSON := flags.Bool("json", false, "print JSON instead of text")
	find := socketFlags(flags)
	help := flags.BoolP("help", "h", false, "print this help")
	if err := flags.Parse(args); err != nil {
		return complain(p, ExitUsage, err)
	}
	switch {
	case *help:
		return say(p, "Tell what a running gateway is doing.\n\nUsage:\n  pagi-bridge status --status-socket PATH | -c site.yaml\n\nOptions:\n"+flags.FlagUsagesWrapped(100))
	case flags.NArg() > 0:
		return complain(p, ExitUsage, fmt.Errorf("unexpected argument %q", flags.Arg(0)))
	}
	socket, err := find()
	if err != nil {
		return complain(p, ExitUsage, err)
	}
	ctx, cancel := context.WithTimeout(ctx, statusTime)
	defer cancel()
	if *asJSON {
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
