package command

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"sync"
	"syscall"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/status"
)

// defaultDrainDelay is how long a gateway that is drained goes on, so that load balancers notice.
const defaultDrainDelay = 10 * time.Second

// errDrained is the cause of a stop by "pagi-bridge drain".
var errDrained = errors.New("the gateway was drained")

// drainer stops the gateway some time after it was told to. Its zero value must not be used; see newDrainer.
//
//	serving   readiness passes
//	draining  readiness fails, requests are served; Stops is set. A cancel leads back to serving
//	stopping  the delay is over: as after TERM
type drainer struct {
	asks chan drainAsk

	mu    sync.Mutex
	stops time.Time // zero: not draining
}

// drainAsk begins a draining, or cancels it.
type drainAsk struct {
	delay  time.Duration
	cancel bool
	done   chan string // what has become of it, in words; "" for a cancel with nothing to cancel
}

func newDrainer() *drainer { return &drainer{asks: make(chan drainAsk)} }

// Stops returns when the gateway will stop, the zero time if it will not.
func (d *drainer) Stops() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.stops
}

func (d *drainer) set(stops time.Time) {
	d.mu.Lock()
	d.stops = stops
	d.mu.Unlock()
}

// drain carries out what is asked of the drainer until ctx ends. end stops the server.
func (g *gateway) drain(ctx context.Context, end context.CancelCauseFunc) {
	d, log := g.drainer, g.logs.logger
	var due <-chan time.Time
	for {
		select {
		case a := <-d.asks:
			switch {
			case a.cancel && due == nil:
				a.done <- ""
			case a.cancel:
				due = nil
				d.set(time.Time{})
				g.current().Drain(false)
				log.Info("the draining is cancelled")
				a.done <- "the gateway goes on, and is ready again"
			default:
				g.current().Drain(true)
				d.set(time.Now().Add(a.delay))
				due = time.After(a.delay)
				log.Info("draining: readiness fails from now on", "stops_in", a.delay.String())
				a.done <- g.drainWords(a.delay)
			}
		case <-due:
			log.Info("drained: the gateway stops")
			end(errDrained)
			return
		case <-ctx.Done():
			return
		}
	}
}

// drainWords says what a draining means.
func (g *gateway) drainWords(delay time.Duration) string {
	text := fmt.Sprintf("the gateway is not ready any more, and stops in %v", delay)
	if delay == 0 {
		text = "the gateway stops"
	}
	if delay > 0 && !g.current().HasHealthcheck() {
		text += "; it has no middleware healthcheck, by which a load balancer would notice"
	}
	return text
}

// drainOrder drains the gateway or a mount, or cancels that.
func (g *gateway) drainOrder(ctx context.Context, q url.Values) (string, error) {
	cancel := q.Get("cancel") != ""
	if mount := q.Get("mount"); mount != "" {
		return g.drainMount(mount, cancel)
	}
	delay := defaultDrainDelay
	if text := q.Get("delay"); text != "" {
		var err error
		if delay, err = time.ParseDuration(text); err != nil || delay < 0 {
			return "", fmt.Errorf("%q is no delay: give a duration such as 30s", text)
		}
	}
	a := drainAsk{delay: delay, cancel: cancel, done: make(chan string, 1)}
	select {
	case g.drainer.asks <- a:
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	became := <-a.done // the drainer answers at once
	if became == "" {
		return "", errors.New("the gateway is not being drained")
	}
	return became, nil
}

func (g *gateway) drainMount(mount string, cancel bool) (string, error) {
	changed, err := g.current().DrainMount(mount, !cancel)
	switch {
	case err != nil:
		return "", err
	case cancel && !changed:
		return "", fmt.Errorf("%s is not drained", mount)
	case cancel:
		g.logs.logger.Info("the mount takes requests again", "mount", mount)
		return mount + " takes requests again", nil
	}
	g.logs.logger.Info("the mount is drained: new requests get 503", "mount", mount)
	return mount + " is drained: new requests get 503", nil
}

// drainCommand is the command "pagi-bridge drain".
func drainCommand() *command {
	c := newCommand("drain", "[MOUNT]", `Stop a gateway without losing requests: its readiness fails, it goes on for a while, and then
stops as after TERM. With the name of a mount that mount alone refuses new requests, with 503,
until it is told otherwise; the requests that it has go on.`)
	delay := c.flags.Duration("delay", defaultDrainDelay, "go on for this `TIME` before the gateway stops, so that load balancers notice")
	cancel := c.flags.Bool("cancel", false, "take it back: the gateway goes on, or the mount takes requests again")
	wait := c.flags.Bool("wait", false, "return once the gateway has ended, or the mount has no request any more")
	find := socketFlags(c.flags)
	c.run = func(ctx context.Context, p Process) int {
		mount := c.flags.Arg(0)
		switch {
		case c.flags.NArg() > 1:
			return complain(p, ExitUsage, fmt.Errorf("unexpected argument %q", c.flags.Arg(1)))
		case mount != "" && c.flags.Changed("delay"):
			return complain(p, ExitUsage, errors.New("--delay is for the whole gateway: a mount is drained at once"))
		case *cancel && (*wait || c.flags.Changed("delay")):
			return complain(p, ExitUsage, errors.New("--cancel goes without --wait and --delay"))
		}
		return giveDrain(ctx, find, mount, *delay, *cancel, *wait, p)
	}
	return c
}

func giveDrain(ctx context.Context, find func() (string, error), mount string, delay time.Duration, cancel, wait bool, p Process) int {
	socket, err := find()
	if err != nil {
		return complain(p, ExitUsage, err)
	}
	query := url.Values{"delay": {delay.String()}}
	if mount != "" {
		query = url.Values{"mount": {mount}}
	}
	if cancel {
		query.Set("cancel", "yes")
	}
	text, err := askGateway(ctx, socket, http.MethodPost, "drain", query)
	if err != nil {
		return complain(p, ExitFailure, err)
	}
	if code := say(p, text); code != ExitOK || !wait {
		return code
	}
	if err := awaitDrained(ctx, socket, mount); err != nil {
		return complain(p, ExitFailure, err)
	}
	return ExitOK
}

// drainPause is the time between two looks at a gateway that is being drained.
const drainPause = 200 * time.Millisecond

// awaitDrained waits until nothing answers at a status socket any more, or until a mount has no requests. A draining that is
// cancelled meanwhile is an error.
func awaitDrained(ctx context.Context, socket, mount string) error {
	began, failures := false, 0
	for {
		looking, cancel := context.WithTimeout(ctx, statusTime)
		g, err := askStatus(looking, socket)
		cancel()
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		idle, drained := false, true
		switch failures++; {
		case err == nil:
			failures = 0
			idle, drained = isDrained(g, mount)
		case mount == "" && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)):
			return nil
		case mount != "" || failures > 10:
			return err
		}
		switch {
		case idle && drained:
			return nil
		case !drained && (began || mount != ""):
			return errors.New("the draining was cancelled")
		case drained:
			began = true
		}
		select {
		case <-time.After(drainPause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// isDrained reports whether the gateway, or a mount of it, is being drained, and whether the mount has no requests.
func isDrained(g *status.Gateway, mount string) (idle, drained bool) {
	if mount == "" {
		return false, !g.Draining.IsZero()
	}
	for _, m := range g.Mounts {
		if m.Mount == mount {
			return m.Backend == nil || m.Running == 0 && m.Queued == 0, !m.Draining.IsZero()
		}
	}
	return false, false
}
