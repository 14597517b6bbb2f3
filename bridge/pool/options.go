package pool

import (
	"errors"
	"log/slog"
	"os/exec"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/shared"
	"github.com/pagi-go/pagi-bridge/internal/tally"
)

// Limits are the limits and time-outs of a pool.
type Limits struct {
	// Limits are those of the processes.
	worker.Limits `yaml:",inline"`
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
	worker.Processes
	Limits
	// Name is the pool's name in log records: the mount's path.
	Name string
	// Start returns the command that runs a worker, or with Preload the zygote, and what is
	// written to its standard input. The pool sets the command's process attributes and the
	// other standard streams; SysProcAttr and ExtraFiles are an error.
	Start func(worker.Setup) (*exec.Cmd, []byte, error)
	// Loaded, if not nil, gets the names of the application's files, as the workers report them. It
	// must not block.
	Loaded func(files []string)
	// Counts takes what the application counts; nil is allowed.
	Counts *tally.Mount
	// Shared is what the workers may use of what the site shares; nil: nothing.
	Shared *shared.Access
	// Logger gets the pool's own records and the workers' output; nil means
	// slog.Default.
	Logger *slog.Logger
	// Crew makes the workers that the pool gives its requests to, unless they are to be processes of this one.
	Crew func(worker.Options, worker.Host) worker.Crew

	hook hook // for tests
}

// Check reports limits that cannot work, by their names in a site file.
func (l *Limits) Check() error {
	errs := []error{option.CheckSigns(l)}
	switch l.Retry {
	case "", RetryUnread, RetrySafe, RetryOff:
	default:
		errs = append(errs, option.Wrong("retry", "must be unread, safe or off, is %q", l.Retry))
	}
	return errors.Join(append(errs, l.Limits.Check())...)
}

// Check reports options that cannot work, by their names in a site file.
func (o *Options) Check() error { return errors.Join(o.Processes.Check(), o.Limits.Check()) }

// setDefaults gives the options that are zero their defaults.
func (o *Options) setDefaults() { option.SetDefaults(&o.Limits) }

// crew returns the pool's workers.
func (o *Options) crew(host worker.Host) worker.Crew {
	if o.Crew != nil {
		return o.Crew(o.WorkerOptions(), host)
	}
	return worker.New(o.WorkerOptions(), host)
}

// WorkerOptions returns the options of the pool's processes.
func (o *Options) WorkerOptions() worker.Options {
	look := min(o.QueueTimeout/4, nudgeTime)
	if o.RequestTimeout > 0 {
		look = min(look, o.RequestTimeout/4)
	}
	return worker.Options{
		Offer:     wire.Offer{Features: wire.FeatureRequests},
		Need:      wire.FeatureRequests,
		Processes: o.Processes, Limits: o.Limits.Limits, Name: o.Name,
		Start: o.Start, Loaded: o.Loaded, Counts: o.Counts, Shared: o.Shared, Logger: o.Logger, LookEvery: look,
	}
}
