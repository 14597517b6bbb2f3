package pool

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/proc"
)

// Processes says how many worker processes there are and when each is replaced. A site may
// set these options for all its mounts.
type Processes struct {
	// Workers is the number of processes; 5 by default.
	Workers int `yaml:"workers" default:"5" flag:"w" help:"start {N} worker processes for each PSGI application"`
	// MinWorkers and MaxWorkers, given instead of Workers, let the number follow the load: the pool
	// adds one or more workers when requests have been waiting for about 100 ms, and ends one that
	// was idle for IdleTimeout.
	MinWorkers int `yaml:"min_workers" help:"with --max-workers: let the load decide, and keep at least {N} workers"`
	MaxWorkers int `yaml:"max_workers" help:"with --min-workers: let the load decide, and start at most {N} workers"`
	// Preload has one process, the zygote, load the application and fork the workers, which share
	// its memory. When the zygote ends, the pool starts another one and the workers go on.
	// docs/psgi.md tells what an application has to take care of with Preload.
	Preload bool `yaml:"preload" help:"load the PSGI application once, in a process that forks the workers"`
	// MaxRequests is how many requests a worker serves before another takes its place; 0
	// means no limit.
	MaxRequests int `yaml:"max_requests" help:"replace a worker process after {N} requests (default 0: never)"`
	// MaxAge is how old a worker becomes before another takes its place; 0 means no limit.
	MaxAge time.Duration `yaml:"max_age" help:"replace a worker process after {SECONDS} (default 0: never)"`
	// MaxRSS is how many bytes of memory (its resident set) a worker may have between two requests
	// before another takes its place; 0 means no limit. The pool checks once per second. It needs a
	// /proc.
	MaxRSS int64 `yaml:"max_rss" unit:"bytes" help:"replace a worker process that has more than {SIZE} of memory (default 0: never)"`
}

// Limits are the limits and time-outs of a pool.
type Limits struct {
	// IdleTimeout is how long a worker beyond MinWorkers may be idle. It is also the least time
	// between adding workers and ending one; 60 s by default.
	IdleTimeout time.Duration `yaml:"idle_timeout" default:"60s"`
	// MaxRequestsJitter is the part of MaxRequests and MaxAge by which workers may fall
	// short of them, each by its own amount, so that they do not all go at once: 0 to 1, 0.1
	// by default, less than 0 for none.
	MaxRequestsJitter float64 `yaml:"max_requests_jitter" default:"0.1" negative:"yes"`
	// QueueSize is how many requests may wait for a worker; 1024 by default. One more ends
	// with ErrQueueFull.
	QueueSize int `yaml:"queue_size" default:"1024"`
	// QueueTimeout is how long a request may wait for a worker before it ends with
	// ErrQueueTimeout; 30 s by default.
	QueueTimeout time.Duration `yaml:"queue_timeout" default:"30s"`
	// RequestTimeout is how long a worker may go without a sign of life while it has a
	// request. Then it is killed and the request ends with ErrTimeout; 300 s by default, less
	// than 0 means no limit. Waiting for a slow client does not count.
	RequestTimeout time.Duration `yaml:"request_timeout" default:"300s" negative:"yes"`
	// StartTimeout is how long a worker may take until it is ready; 60 s by default.
	StartTimeout time.Duration `yaml:"start_timeout" default:"60s"`
	// KillAfter is the time between TERM and KILL when a process group is ended; 5 s by
	// default.
	KillAfter time.Duration `yaml:"kill_after" default:"5s"`
	// MaxBatch is how many requests with safe methods a worker may be given at once under
	// load; 32 by default, 1 for one by one.
	MaxBatch int `yaml:"max_batch" default:"32"`
	// Retry selects the requests with safe methods that go to another worker, once, when their
	// worker died before any of the answer had arrived. "unread" (RetryUnread), the default,
	// selects those that the dead worker had not read; "safe" (RetrySafe) all; "off" (RetryOff)
	// none. A request that waited behind another one in a batch was not begun, and always goes to
	// another worker.
	Retry string `yaml:"retry" default:"unread"`
	// AnswerMemory is how many bytes of an answer are kept in memory while its client is
	// slow; 256 KiB by default. More goes to a temporary file.
	AnswerMemory int `yaml:"answer_memory" unit:"bytes" default:"256KiB"`
	// AnswerSpool is how many bytes may be in that file before the worker has to wait for
	// the client; 1 GiB by default, less than 0 means no file. Where the file cannot be
	// written, because the disk is full or no descriptor is left, the worker waits as well.
	AnswerSpool int64 `yaml:"answer_spool" unit:"bytes" default:"1GiB" negative:"yes"`
	// AnswerSpoolTotal is how many bytes the files of all answers may have together; 4 GiB
	// by default, less than 0 means no limit. With more, the worker waits for the client.
	AnswerSpoolTotal int64 `yaml:"answer_spool_total" unit:"bytes" default:"4GiB" negative:"yes"`
}

// Options configure a Pool. Start is required.
type Options struct {
	Processes
	Limits
	// Name is the pool's name in log records: the mount's path.
	Name string
	// Start returns the command that runs a worker, or with Preload the zygote, and what is
	// written to its standard input. The pool sets the command's process attributes and the
	// other standard streams; SysProcAttr and ExtraFiles are an error.
	Start func(Setup) (*exec.Cmd, []byte, error)
	// Loaded, if not nil, gets the names of the application's files, as the workers report them. It
	// must not block.
	Loaded func(files []string)
	// Logger gets the pool's own records and the workers' output; nil means
	// slog.Default.
	Logger *slog.Logger

	hook  hook          // for tests
	stall time.Duration // for tests; stallTime by default
}

// Inherit sets options that are zero to those of a site. Preload stays false where given reports
// that the site file sets it here. Workers, MinWorkers and MaxWorkers are inherited together:
// a pool that has one of them takes none.
func (p *Processes) Inherit(from Processes, given func(name string) bool) {
	if p.Workers != 0 || p.MinWorkers != 0 || p.MaxWorkers != 0 {
		from.Workers, from.MinWorkers, from.MaxWorkers = 0, 0, 0
	}
	option.Inherit(p, &from, given)
}

// WithDefaults returns the options with Workers at its default where neither it nor MaxWorkers is
// set.
func (p Processes) WithDefaults() Processes {
	if p.MaxWorkers == 0 {
		option.SetDefaults(&p)
	}
	return p
}

// Check reports options that cannot work, by their names in a site file.
func (p *Processes) Check() error {
	errs := []error{checkSigns(p)}
	switch {
	case p.Workers > 0 && (p.MinWorkers > 0 || p.MaxWorkers > 0):
		errs = append(errs, wrong("workers", "excludes min_workers and max_workers: either the number is fixed or it follows the load"))
	case p.MinWorkers > 0 && p.MaxWorkers == 0:
		errs = append(errs, wrong("max_workers", "is missing: min_workers needs both"))
	case p.MaxWorkers > 0 && p.MinWorkers == 0:
		errs = append(errs, wrong("min_workers", "is missing: max_workers needs both"))
	case p.MinWorkers > p.MaxWorkers:
		errs = append(errs, wrong("max_workers", "must not be less than min_workers, is %d and %d", p.MaxWorkers, p.MinWorkers))
	}
	if p.MaxRSS > 0 {
		if _, err := proc.Resident(os.Getpid()); err != nil {
			errs = append(errs, wrong("max_rss", "cannot be watched on this system: %w", err))
		}
	}
	return errors.Join(errs...)
}

// Check reports limits that cannot work, by their names in a site file.
func (l *Limits) Check() error {
	errs := []error{checkSigns(l)}
	switch l.Retry {
	case "", RetryUnread, RetrySafe, RetryOff:
	default:
		errs = append(errs, wrong("retry", "must be unread, safe or off, is %q", l.Retry))
	}
	if l.MaxRequestsJitter > 1 {
		errs = append(errs, wrong("max_requests_jitter", "must be at most 1, is %g", l.MaxRequestsJitter))
	}
	return errors.Join(errs...)
}

// Check reports options that cannot work, by their names in a site file.
func (o *Options) Check() error { return errors.Join(o.Processes.Check(), o.Limits.Check()) }

// checkSigns reports negative values of options that have no meaning for one, which the tag
// negative gives them.
func checkSigns(options any) error {
	var errs []error
	for _, f := range option.Fields(options) {
		if f.Value.CanInt() && f.Value.Int() < 0 && f.Tag.Get("negative") == "" {
			errs = append(errs, wrong(f.Name, "must not be negative, is %v", f.Value.Interface()))
		}
	}
	return errors.Join(errs...)
}

func wrong(name, format string, args ...any) error {
	return fmt.Errorf("%s: %w", name, fmt.Errorf(format, args...))
}

// setDefaults gives the options that are zero their defaults.
func (o *Options) setDefaults() {
	option.SetDefaults(&o.Limits)
	o.stall = cmp.Or(o.stall, stallTime)
	o.Processes = o.Processes.WithDefaults()
	if o.MaxWorkers == 0 {
		o.MinWorkers, o.MaxWorkers = o.Workers, o.Workers
	}
}
