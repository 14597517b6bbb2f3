package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/site/command/top"
)

// leastInterval is the shortest time between two looks of "pagi-bridge top".
const leastInterval = 100 * time.Millisecond

// topCommand is the command "pagi-bridge top".
func topCommand() *command {
	c := newCommand("top", "", `Show what a running gateway is doing, again and again: its mounts, their workers and the
requests that these are running. The key h tells the other keys. The environment variable NO_COLOR
turns colours off.`)
	interval := c.flags.Duration("interval", 2*time.Second, "look at the gateway every `TIME`")
	once := c.flags.Bool("once", false, "print one table, of two looks with the interval between them; works without a terminal")
	find := socketFlags(c.flags)
	c.run = func(ctx context.Context, p Process) int {
		switch {
		case c.flags.NArg() > 0:
			return complain(p, ExitUsage, fmt.Errorf("unexpected argument %q", c.flags.Arg(0)))
		case *interval < leastInterval:
			return complain(p, ExitUsage, fmt.Errorf("--interval must be at least %v, is %v", leastInterval, *interval))
		}
		return showTop(ctx, find, *interval, *once, p)
	}
	return c
}

func showTop(ctx context.Context, find func() (string, error), interval time.Duration, once bool, p Process) int {
	socket, err := find()
	if err != nil {
		return complain(p, ExitUsage, err)
	}
	out, _ := p.Stdout.(*os.File)
	terminal := out != nil && isTerminal(out)
	noColor, _ := p.LookupEnv("NO_COLOR")
	dumb, _ := p.LookupEnv("TERM")
	opt := top.Options{
		Ask:      func(ctx context.Context) (*status.Gateway, error) { return askStatus(ctx, socket) },
		Interval: interval, Color: terminal && noColor == "" && dumb != "dumb",
	}
	switch {
	case once:
		columns := 0
		if terminal {
			columns, _, _ = term.GetSize(int(out.Fd())) // 0 does not limit the lines
		}
		err = top.Once(ctx, opt, p.Stdout, columns)
	case !terminal:
		return complain(p, ExitUsage, top.ErrNoTerminal)
	default:
		err = top.Run(ctx, opt, os.Stdin, out)
	}
	if errors.Is(err, top.ErrNoTerminal) {
		return complain(p, ExitUsage, err)
	}
	if err != nil {
		return complain(p, ExitFailure, err)
	}
	return ExitOK
}

// askStatus asks a gateway for its status.
func askStatus(ctx context.Context, socket string) (*status.Gateway, error) {
	text, err := askGateway(ctx, socket, http.MethodGet, "", nil)
	if err != nil {
		return nil, err
	}
	var g status.Gateway
	if err := json.Unmarshal([]byte(text), &g); err != nil {
		return nil, fmt.Errorf("%s: %w", socket, err)
	}
	return &g, nil
}
