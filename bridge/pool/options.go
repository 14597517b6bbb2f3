package pool

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// Check reports options that cannot work, by their names in a site file.
func (o *Options) Check() error {
	var errs []error
	wrong := func(name, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%s: %w", name, fmt.Errorf(format, args...)))
	}
	for _, n := range []struct {
		name  string
		value int64
	}{
		{"workers", int64(o.Workers)}, {"min_workers", int64(o.MinWorkers)}, {"max_workers", int64(o.MaxWorkers)},
		{"max_requests", int64(o.MaxRequests)}, {"max_rss", o.MaxRSS}, {"queue_size", int64(o.QueueSize)},
		{"max_batch", int64(o.MaxBatch)}, {"answer_memory", int64(o.Memory)},
	} {
		if n.value < 0 {
			wrong(n.name, "must not be negative, is %d", n.value)
		}
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"idle_timeout", o.IdleTimeout}, {"max_age", o.MaxAge}, {"queue_timeout", o.QueueTimeout},
		{"start_timeout", o.StartTimeout}, {"kill_grace", o.KillGrace},
	} {
		if d.value < 0 {
			wrong(d.name, "must not be negative, is %v", d.value)
		}
	}
	switch {
	case o.Workers > 0 && (o.MinWorkers > 0 || o.MaxWorkers > 0):
		wrong("workers", "excludes min_workers and max_workers: either the number is fixed or it follows the load")
	case o.MinWorkers > 0 && o.MaxWorkers == 0:
		wrong("max_workers", "is missing: min_workers needs both")
	case o.MaxWorkers > 0 && o.MinWorkers == 0:
		wrong("min_workers", "is missing: max_workers needs both")
	case o.MinWorkers > o.MaxWorkers:
		wrong("max_workers", "must not be less than min_workers, is %d and %d", o.MaxWorkers, o.MinWorkers)
	}
	if o.Jitter > 1 {
		wrong("max_requests_jitter", "must be at most 1, is %g", o.Jitter)
	}
	if o.MaxRSS > 0 {
		if _, err := Resident(os.Getpid()); err != nil {
			wrong("max_rss", "cannot be watched on this system: %w", err)
		}
	}
	return errors.Join(errs...)
}

func (o *Options) setDefaults() {
	def(&o.QueueSize, DefaultQueueSize)
	def(&o.MaxBatch, DefaultMaxBatch)
	def(&o.Memory, DefaultMemory)
	def(&o.Spool, DefaultSpool)
	def(&o.QueueTimeout, DefaultQueueTimeout)
	def(&o.RequestTimeout, DefaultRequestTimeout)
	def(&o.StartTimeout, DefaultStartTimeout)
	def(&o.KillGrace, DefaultKillGrace)
	def(&o.IdleTimeout, DefaultIdleTimeout)
	def(&o.Jitter, DefaultJitter)
	if o.MaxWorkers == 0 {
		def(&o.Workers, DefaultWorkers)
		o.MinWorkers, o.MaxWorkers = o.Workers, o.Workers
	}
}

func def[T comparable](option *T, value T) {
	if *option == *new(T) {
		*option = value
	}
}
