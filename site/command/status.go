package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"github.com/pagi-go/pagi-bridge/internal/lines"
	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/site"
)

// report describes the gateway at this moment.
func (g *gateway) report() *status.Gateway {
	s := g.current()
	r := &status.Gateway{Version: version(), PID: os.Getpid(), Environment: s.Settings.Environment, Since: g.began}
	r.Server, _ = g.server.Status() // the zero status while it begins or ends
	for _, m := range s.All() {
		r.Mounts = append(r.Mounts, m.Status())
	}
	r.Adapters = g.adapters.Status()
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

// showStatus is the command "pagi-bridge status".
func showStatus(ctx context.Context, args []string, p Process) int {
	flags := pflag.NewFlagSet("pagi-bridge status", pflag.ContinueOnError)
	flags.Usage = func() {}
	asJSON := flags.Bool("json", false, "print JSON instead of text")
	socket := flags.String("status-socket", "", "ask the gateway whose status socket is `PATH`")
	config := flags.StringP("config", "c", "", "read the path of the status socket from the site `FILE`")
	help := flags.BoolP("help", "h", false, "print this help")
	if err := flags.Parse(args); err != nil {
		return complain(p, ExitUsage, err)
	}
	switch {
	case *help:
		return say(p, "Tell what a running gateway is doing.\n\nUsage:\n  pagi-bridge status --status-socket PATH | -c site.yaml\n\nOptions:\n"+flags.FlagUsagesWrapped(100))
	case flags.NArg() > 0:
		return complain(p, ExitUsage, fmt.Errorf("unexpected argument %q", flags.Arg(0)))
	case *socket == "" && *config != "":
		s, err := site.Load(*config)
		if err != nil {
			return complain(p, ExitUsage, err)
		}
		*socket = s.Settings.StatusSocket
	}
	if *socket == "" {
		return complain(p, ExitUsage, errors.New("give --status-socket PATH, or -c FILE for a site file with status_socket"))
	}
	text, err := askStatus(ctx, *socket)
	if err != nil {
		return complain(p, ExitFailure, err)
	}
	if *asJSON {
		return say(p, string(text))
	}
	var r status.Gateway
	if err := json.Unmarshal(text, &r); err != nil {
		return complain(p, ExitFailure, fmt.Errorf("%s: %w", *socket, err))
	}
	return say(p, statusText(&r, time.Now()))
}

// askStatus returns the answer of a gateway.
func askStatus(ctx context.Context, socket string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", socket)
	}}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://gateway/", nil)
	if err != nil {
		return nil, err
	}
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("no gateway answers: %w", err)
	}
	text, err := io.ReadAll(res.Body)
	return text, errors.Join(err, res.Body.Close())
}
