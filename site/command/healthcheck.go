package command

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/pool"
	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/site"
)

// defaultHealthTime is how long "pagi-bridge healthcheck" waits for an answer.
const defaultHealthTime = 5 * time.Second

// healthcheckCommand is the command "pagi-bridge healthcheck".
func healthcheckCommand() *command {
	c := newCommand("healthcheck", "[URL]", `Tell whether a running gateway can take requests: for containers and monitoring. It asks the status
socket, and every mount with workers must have one that is ready. With a URL it makes a GET of that, and a status
below 400 passes.`)
	c.usage, c.notes = []string{
		"pagi-bridge healthcheck --status-socket PATH | -c site.yaml", "pagi-bridge healthcheck http://127.0.0.1:5000/ready",
	}, "Exit codes: 0 it can, 1 it cannot or does not answer, 2 wrong flags."
	limit := c.flags.Duration("timeout", defaultHealthTime, "wait for this `TIME`")
	find := socketFlags(c.flags)
	c.run = func(ctx context.Context, p Process) int {
		if c.flags.NArg() > 1 {
			return complain(p, ExitUsage, fmt.Errorf("unexpected argument %q", c.flags.Arg(1)))
		}
		ctx, cancel := context.WithTimeout(ctx, *limit)
		defer cancel()
		if url := c.flags.Arg(0); url != "" {
			if err := checkURL(ctx, url); err != nil {
				return complain(p, ExitFailure, err)
			}
			return say(p, "ready\n")
		}
		socket, err := find()
		if err != nil {
			return complain(p, ExitUsage, err)
		}
		g, err := askStatus(ctx, socket)
		if err == nil {
			err = ready(g)
		}
		if err != nil {
			return complain(p, ExitFailure, err)
		}
		return say(p, "ready\n")
	}
	return c
}

// checkURL makes a GET, and does not follow redirects.
func checkURL(ctx context.Context, url string) error {
	if !strings.HasPrefix(url, "http://") && !strings.HasPrefix(url, "https://") {
		return fmt.Errorf("%q must begin with http:// or https://", url)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	if err := res.Body.Close(); err != nil {
		return err
	}
	if res.StatusCode >= 400 {
		return fmt.Errorf("%s answers %s", url, res.Status)
	}
	return nil
}

// ready returns why a gateway cannot take requests.
func ready(g *status.Gateway) error {
	if !g.Draining.IsZero() {
		return errors.New("the gateway is being drained")
	}
	for _, m := range g.Mounts {
		needsWorkers := m.Kind == site.KindPSGI || m.Kind == site.KindPerlPAGI
		if !needsWorkers || m.Backend == nil {
			continue
		}
		serves := slices.ContainsFunc(m.Workers, func(w status.Worker) bool {
			return w.State == pool.Ready.String() || w.State == pool.Busy.String()
		})
		switch {
		case m.Circuit == "open":
			return fmt.Errorf("%s: its workers cannot be started: %s", m.Mount, m.Problem)
		case !serves:
			return fmt.Errorf("%s: no worker is ready", m.Mount)
		}
	}
	return nil
}
