package worker

import (
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/internal/hung"
	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/proc"
	"github.com/pagi-go/pagi-bridge/internal/shared"
	"github.com/pagi-go/pagi-bridge/internal/tally"
)

// Processes says how many worker processes there are and when each is replaced. A site may
// set these options for all its mounts.
type Processes struct {
	// Workers is the number of processes; 5 by default. Auto stands for MinWorkers and MaxWorkers that fit the machine: at
	// least as many as it has processors, and while more help four times as many, or 8 if that is more.
	Workers int `yaml:"workers" default:"5" auto:"yes" flag:"w" help:"start {N} worker processes for each PSGI application, or auto: as many as the machine and the load need"`
	// MinWorkers and MaxWorkers, given instead of Workers, let the number follow the load: the group
	// adds one or more workers when requests have been waiting for about 100 ms, and ends one that
	// was idle for IdleTimeout.
	MinWorkers int `yaml:"min_workers" help:"with --max-workers: let the load decide, and keep at least {N} workers"`
	MaxWorkers int `yaml:"max_workers" help:"with --min-workers: let the load decide, and start at most {N} workers"`
	// Preload has one process, the zygote, load the application and fork the workers, which share
	// its memory. When the zygote ends, the group starts another one and the workers go on.
	// docs/psgi.md tells what an application has to take care of with Preload.
	Preload bool `yaml:"preload" help:"load the PSGI application once, in a process that forks the workers"`
	// MaxRequests is how many requests a worker serves before another takes its place; 0
	// means no limit.
	MaxRequests int `yaml:"max_requests" help:"replace a worker process after {N} requests (default 0: never)"`
	// MaxAge is how old a worker becomes before another takes its place; 0 means no limit.
	MaxAge time.Duration `yaml:"max_age" help:"replace a worker process after {SECONDS} (default 0: never)"`
	// MaxRSS is how many bytes of memory (its resident set) a worker may have between two requests
	// before another takes its place; 0 means no limit. The group checks once per second. It needs a
	// /proc.
	MaxRSS int64 `yaml:"max_rss" unit:"bytes" help:"replace a worker process that has more than {SIZE} of memory (default 0: never)"`
	// StackSignal is the signal by which a worker that is about to be ended for time is asked for its Perl stack: "ILL", the
	// default, "FPE", "BUS", or "off". Perl runs the handlers of these alone at once. A second signal, number 60, goes with
	// it. Linux only.
	StackSignal string `yaml:"stack_signal" help:"before a worker is ended for time, ask it for its Perl stack by {SIGNAL}: ILL, FPE, BUS or off (default ILL)"`
}

// Signal returns StackSignal.
func (p *Processes) Signal() hung.Signal { return hung.Signal(p.StackSignal) }

// Limits are the limits and time-outs of the processes of a group.
type Limits struct {
	// IdleTimeout is how long a worker beyond MinWorkers may be idle. It is also the least time
	// between adding workers and ending one; 60 s by default.
	IdleTimeout time.Duration `yaml:"idle_timeout" default:"60s"`
	// MaxRequestsJitter is the part of MaxRequests and MaxAge by which workers may fall
	// short of them, each by its own amount, so that they do not all go at once: 0 to 1, 0.1
	// by default, less than 0 for none.
	MaxRequestsJitter float64 `yaml:"max_requests_jitter" default:"0.1" negative:"yes"`
	// StartTimeout is how long a worker may take until it is ready; 60 s by default.
	StartTimeout time.Duration `yaml:"start_timeout" default:"60s"`
	// KillAfter is the time between TERM and KILL when a process group is ended; 5 s by
	// default.
	KillAfter time.Duration `yaml:"kill_after" default:"5s"`
}

// Setup is what a process needs to connect to its group.
type Setup struct {
	// Dir is the group's private directory (mode 0700).
	Dir string
	// Socket is the path of the Unix socket to connect to.
	Socket string
	// Token is the secret that the process must repeat in HELLO.
	Token string
	// Worker is the worker's number, counted from 1 in the order of starts; 0 for a zygote.
	Worker int
	// Listen is the path at which the worker makes a socket for gateways, with Options.Listen; else "", and for a zygote,
	// whose workers learn theirs when they are forked. User is the number of the user whose processes may dial there, in
	// decimal.
	Listen, User string
	// Preload is set for a zygote. A zygote loads the application, reports READY, and forks a
	// worker each time the group asks.
	Preload bool
}

// Options configure a Group. Start is required.
type Options struct {
	Processes
	Limits
	// Name is the group's name in log records: the mount's path.
	Name string
	// Start returns the command that runs a worker, or with Preload the zygote, and what is
	// written to its standard input. The group sets the command's process attributes and the
	// other standard streams; SysProcAttr and ExtraFiles are an error.
	Start func(Setup) (*exec.Cmd, []byte, error)
	// Loaded, if not nil, gets the names of the application's files, as the workers report them. It
	// must not block.
	Loaded func(files []string)
	// Counts, if not nil, takes what the application counts in the workers; they are offered the feature counts.
	Counts *tally.Mount
	// Shared is what the workers may use of what the site shares; nil: nothing.
	Shared *shared.Access
	// Logger gets the group's own records and the workers' output; nil means
	// slog.Default.
	Logger *slog.Logger
	// Offer is what the gateway offers a worker in its WELCOME. Files by their paths are added for processes of the
	// gateway's own user. Need are the features without which a worker is refused.
	Offer wire.Offer
	Need  wire.Features
	// Listen has each worker listen for gateways, beside its connection to the group. The host then is a keeper, which
	// tells gateways of the worker's address; the group's own connection carries no work. User is the number of the user
	// whose processes may dial; 0 stands for root, who always may.
	Listen bool
	User   int
	// LookEvery is the longest time between two calls of Host.Look; 50 ms by default, and that at most.
	LookEvery time.Duration
}

// Inherit sets options that are zero to those of a site. Preload stays false where given reports
// that the site file sets it here. Workers, MinWorkers and MaxWorkers are inherited together:
// a mount that has one of them takes none.
func (p *Processes) Inherit(from Processes, given func(name string) bool) {
	if p.Workers != 0 || p.MinWorkers != 0 || p.MaxWorkers != 0 {
		from.Workers, from.MinWorkers, from.MaxWorkers = 0, 0, 0
	}
	option.Inherit(p, &from, given)
}

// Auto is the value of Processes.Workers that leaves the number to the gateway.
const Auto = option.Auto

// WithDefaults returns the options with Workers at its default where neither it nor MaxWorkers is
// set, and with numbers in place of Auto.
func (p Processes) WithDefaults() Processes {
	if p.Workers == Auto {
		n := Processors()
		p.Workers, p.MinWorkers, p.MaxWorkers = 0, n, max(4*n, 8)
	}
	if p.MaxWorkers == 0 {
		option.SetDefaults(&p)
	}
	return p
}

// Check reports options that cannot work, by their names in a site file.
func (p *Processes) Check() error {
	errs := []error{option.CheckSigns(p)}
	switch {
	case p.Workers != 0 && (p.MinWorkers > 0 || p.MaxWorkers > 0):
		errs = append(errs, option.Wrong("workers", "excludes min_workers and max_workers: either the number is fixed or it follows the load"))
	case p.MinWorkers > 0 && p.MaxWorkers == 0:
		errs = append(errs, option.Wrong("max_workers", "is missing: min_workers needs both"))
	case p.MaxWorkers > 0 && p.MinWorkers == 0:
		errs = append(errs, option.Wrong("min_workers", "is missing: max_workers needs both"))
	case p.MinWorkers > p.MaxWorkers:
		errs = append(errs, option.Wrong("max_workers", "must not be less than min_workers, is %d and %d", p.MaxWorkers, p.MinWorkers))
	}
	if err := p.Signal().Check(); err != nil {
		errs = append(errs, option.Wrong("stack_signal", "%w", err))
	}
	if p.MaxRSS > 0 {
		if _, err := proc.Resident(os.Getpid()); err != nil {
			errs = append(errs, option.Wrong("max_rss", "cannot be watched on this system: %w", err))
		}
	}
	return errors.Join(errs...)
}

// Check reports limits that cannot work, by their names in a site file. It leaves negative ones to option.CheckSigns of
// the struct that embeds them.
func (l *Limits) Check() error {
	if l.MaxRequestsJitter > 1 {
		return option.Wrong("max_requests_jitter", "must be at most 1, is %g", l.MaxRequestsJitter)
	}
	return nil
}

// WithDefaults returns the options with their defaults in place of zeros.
func (o Options) WithDefaults() Options {
	o.setDefaults()
	return o
}

// setDefaults gives the options that are zero their defaults.
func (o *Options) setDefaults() {
	option.SetDefaults(&o.Limits)
	o.Processes = o.Processes.WithDefaults()
	if o.MaxWorkers == 0 {
		o.MinWorkers, o.MaxWorkers = o.Workers, o.Workers
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.LookEvery == 0 {
		o.LookEvery = lookEvery
	}
	o.LookEvery = max(min(o.LookEvery, o.StartTimeout/4, lookEvery), time.Millisecond)
}
