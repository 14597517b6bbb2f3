//go:build unix

// Package beside runs the programs of a site that answer no requests: services, which run as long as the site, and jobs, which
// run at their times. It knows programs, times and a log; package site makes them of site files.
//
// Which file does what: beside.go has the Set of all, program.go one run of a program, output.go its lines in the log,
// service.go keeps a service running, job.go runs a job at its times.
package beside

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/status"
)

// Service is a program that is kept running.
type Service struct{ Program }

// Job is a program that runs at times.
type Job struct {
	Program
	// Schedule is how people write the times, Next the first of them after a time; zero: none.
	Schedule string
	Next     func(time.Time) time.Time
	// Timeout is how long a run may take; 0: no limit.
	Timeout time.Duration
}

// Set has the services and jobs of a site. All methods are safe for concurrent use.
//
//	New --Start--> starting --after is closed--> running --Stop--> stopped
type Set struct {
	log *slog.Logger
	now func() time.Time

	ctx   context.Context // of services
	end   context.CancelFunc
	due   context.Context // of the waits of jobs
	quiet context.CancelFunc
	runs  context.Context // of runs of jobs
	cut   context.CancelFunc

	tasks sync.WaitGroup
	begin chan struct{} // closed by Start, once it may begin
	once  sync.Once

	mu       sync.Mutex
	stopped  bool
	services map[string]*service
	jobs     map[string]*job
	slots    map[string]*slot // of all jobs that there were
}

// New returns a Set without services and jobs.
func New(log *slog.Logger) *Set {
	s := &Set{log: log, now: time.Now, begin: make(chan struct{}), services: map[string]*service{}, jobs: map[string]*job{}, slots: map[string]*slot{}}
	s.ctx, s.end = context.WithCancel(context.Background())
	s.due, s.quiet = context.WithCancel(s.ctx)
	s.runs, s.cut = context.WithCancel(context.Background())
	return s
}

// Start lets the services and jobs begin once after is closed; a nil one is closed already. Another process of the gateway may
// still have the same ones until then. Only the first call counts.
func (s *Set) Start(after <-chan struct{}) {
	s.once.Do(func() {
		if after == nil {
			close(s.begin)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.stopped {
			return
		}
		s.tasks.Go(func() {
			select {
			case <-after:
				close(s.begin)
			case <-s.ctx.Done():
			}
		})
	})
}

// Apply replaces all services and jobs. Those that have not changed go on. A service that has changed is stopped, and
// started again after that. A run of a job goes on, and the job that takes its place does not run meanwhile.
func (s *Set) Apply(services []Service, jobs []Job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	keptServices, keptJobs := map[string]*service{}, map[string]*job{}
	for _, spec := range services {
		old := s.services[spec.Name]
		if old != nil && old.key == spec.key() {
			keptServices[spec.Name] = old
			continue
		}
		var after <-chan struct{} = s.begin
		if old != nil {
			after = old.done
		}
		keptServices[spec.Name] = s.serveLocked(spec, after)
	}
	for _, spec := range jobs {
		old := s.jobs[spec.Name]
		if old != nil && old.key == spec.jobKey() {
			keptJobs[spec.Name] = old
			continue
		}
		if s.slots[spec.Name] == nil {
			s.slots[spec.Name] = &slot{}
		}
		keptJobs[spec.Name] = s.scheduleLocked(spec, s.slots[spec.Name])
	}
	for name, old := range s.services {
		if keptServices[name] != old {
			old.end()
		}
	}
	for name, old := range s.jobs {
		if keptJobs[name] != old {
			old.end()
		}
	}
	s.services, s.jobs = keptServices, keptJobs
}

// Quiet has no job begin by its schedule any more. It does not wait.
func (s *Set) Quiet() { s.quiet() }

// Stop ends all services and jobs, and returns when they have ended. Runs of jobs may go on for grace before they are told
// to end, and no longer than until hurry is closed. Programs that do not end within their StopTimeout are killed, at once when hurry
// is closed. Further calls wait as the first one does.
func (s *Set) Stop(grace time.Duration, hurry <-chan struct{}) {
	s.mu.Lock()
	s.stopped = true
	all := slices.Collect(maps.Values(s.slots))
	s.mu.Unlock()
	s.end()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.tasks.Wait()
	}()
	late := time.NewTimer(grace)
	defer late.Stop()
	select {
	case <-ended:
	case <-late.C:
	case <-hurry:
	}
	s.cut()
	select {
	case <-ended:
		return
	case <-hurry:
	}
	s.mu.Lock()
	for _, one := range s.services {
		one.kill()
	}
	s.mu.Unlock()
	for _, one := range all {
		one.kill()
	}
	<-ended
}

// Run runs a job now, beside its schedule. The error says why it cannot.
func (s *Set) Run(name string) error {
	s.mu.Lock()
	j := s.jobs[name]
	names := slices.Sorted(maps.Keys(s.jobs))
	stopped := s.stopped
	s.mu.Unlock()
	switch {
	case j == nil && len(names) == 0:
		return fmt.Errorf("there is no job %q: the site has none", name)
	case j == nil:
		return fmt.Errorf("there is no job %q; there are %v", name, names)
	case stopped:
		return fmt.Errorf("the gateway stops")
	case !s.hasBegun():
		return fmt.Errorf("another process of the gateway has not ended its jobs yet")
	case !j.fire():
		return fmt.Errorf("the job %s is running already", name)
	}
	return nil
}

func (s *Set) hasBegun() bool {
	select {
	case <-s.begin:
		return true
	default:
		return false
	}
}

// Status describes all, by name.
func (s *Set) Status() (services []status.Service, jobs []status.Job) {
	if s == nil {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.services {
		services = append(services, one.status())
	}
	for _, one := range s.jobs {
		jobs = append(jobs, one.status())
	}
	slices.SortFunc(services, func(a, b status.Service) int { return cmp.Compare(a.Service, b.Service) })
	slices.SortFunc(jobs, func(a, b status.Job) int { return cmp.Compare(a.Job, b.Job) })
	return services, jobs
}
