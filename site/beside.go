package site

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/robfig/cron/v3"
	"golang.org/x/sys/unix"

	"github.com/pagi-go/pagi-bridge/internal/beside"
	"github.com/pagi-go/pagi-bridge/internal/supervisor"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// Beside is what services and jobs have in common.
type Beside struct {
	// Name is for people, and in commands.
	Name string `yaml:"name"`
	// Command is the program with its arguments. No shell reads it.
	Command []string `yaml:"command"`
	// Dir is the directory that it begins in. The default is that of the site file.
	Dir string `yaml:"dir" path:"yes"`
	// Env are further variables of its environment.
	Env map[string]string `yaml:"env"`
	// User and Group are whose process it is, by name or number. The gateway must be root then. The default is the gateway's.
	User  string `yaml:"user"`
	Group string `yaml:"group"`
	// Namespace names the cache and the locks that it uses as a mount's application does. Without it there are none.
	Namespace string `yaml:"namespace"`
	// StopSignal tells it to end.
	StopSignal string `yaml:"stop_signal" default:"TERM"`
	// StopTimeout is how long it may take to end before it is killed.
	StopTimeout time.Duration `yaml:"stop_timeout" default:"10s" zero:"must not be 0: it would be killed at once; leave it out for 10 s"`
}

// ServiceOptions are a program that is kept running beside the site.
type ServiceOptions struct {
	Beside `yaml:",inline"`
}

// CronOptions are a program or Perl code that runs on a schedule.
type CronOptions struct {
	Beside `yaml:",inline"`
	// Schedule is the five fields of cron, or @hourly and the like. Every is the time from one start to the next instead.
	Schedule string        `yaml:"schedule"`
	Every    time.Duration `yaml:"every"`
	// Timezone is that of Schedule, as Europe/Berlin. The default is the gateway's.
	Timezone string `yaml:"timezone"`
	// Perl is a file with Perl code, Code is Perl code. Either is in the place of Command.
	Perl string `yaml:"perl" path:"yes"`
	Code string `yaml:"code" expand:"no"`
	// Timeout is how long a run may take. The default is no limit.
	Timeout time.Duration `yaml:"timeout"`
}

// signals are those of StopSignal.
var signals = []string{"TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "KILL"}

// Besides returns the services and the jobs of the site. Build must have been called.
func (s *Site) Besides() ([]beside.Service, []beside.Job) { return s.services, s.jobs }

// makeBesides makes them.
func (s *Site) makeBesides(problems *Problems) {
	names := map[string]bool{}
	complain := func(option string, i int, err error) {
		for _, one := range eachOf(err) {
			problems.addOf(s.settingsAt, pagi.BadOption(option, "%s: %w", s.besideName(option, i), one))
		}
	}
	s.services, s.jobs = nil, nil
	for i := range s.Settings.Services {
		o := &s.Settings.Services[i]
		p, err := s.beside(&o.Beside, "service "+o.Name, o.Command)
		complain("services", i, errors.Join(err, twice(names, "service "+o.Name)))
		s.services = append(s.services, beside.Service{Program: p})
	}
	for i := range s.Settings.Cron {
		o := &s.Settings.Cron[i]
		job, err := s.job(o)
		complain("cron", i, errors.Join(err, twice(names, "job "+o.Name)))
		s.jobs = append(s.jobs, job)
	}
}

// eachOf returns the errors that were joined.
func eachOf(err error) (all []error) {
	var many interface{ Unwrap() []error }
	switch {
	case err == nil:
	case errors.As(err, &many):
		for _, one := range many.Unwrap() {
			all = append(all, eachOf(one)...)
		}
	default:
		all = append(all, err)
	}
	return all
}

// runtime returns the directory with the Perl modules of the runtime, which processes of any user can read.
func (s *Site) runtime() (string, error) {
	if s.Runtime == nil {
		return "", errors.New("this program has no Perl runtime for jobs")
	}
	return s.Runtime()
}

func twice(names map[string]bool, name string) error {
	if names[name] {
		return errors.New("there is another one with this name")
	}
	names[name] = true
	return nil
}

// besideName is how a message calls a service or a job.
func (s *Site) besideName(option string, i int) string {
	name := ""
	if option == "cron" {
		name = s.Settings.Cron[i].Name
	} else {
		name = s.Settings.Services[i].Name
	}
	if name == "" {
		return fmt.Sprintf("number %d", i+1)
	}
	return name
}

// beside returns the program of a service or a job with a command.
func (s *Site) beside(o *Beside, holder string, command []string) (beside.Program, error) {
	p := beside.Program{Name: o.Name, User: o.User, Group: o.Group, StopTimeout: o.StopTimeout, StopSignal: syscall.SIGTERM}
	var errs []error
	if o.Name == "" || strings.ContainsAny(o.Name, " /\n\t") {
		errs = append(errs, fmt.Errorf("needs a name without spaces and slashes, has %q", o.Name))
	}
	if p.StopTimeout <= 0 {
		p.StopTimeout = 10 * time.Second
	}
	if o.StopSignal != "" {
		name := strings.TrimPrefix(o.StopSignal, "SIG")
		if !slices.Contains(signals, name) {
			errs = append(errs, fmt.Errorf("stop_signal: must be one of %s, is %q", strings.Join(signals, ", "), o.StopSignal))
		}
		p.StopSignal = unix.SignalNum("SIG" + name)
	}
	if o.User != "" && s.Settings.User != "" && o.User != s.Settings.User {
		errs = append(errs, fmt.Errorf("user: needs a gateway that stays root, which the setting user: %s ends", s.Settings.User))
	}
	if o.User != "" && o.User == s.Settings.User {
		p.User, p.Group = "", ""
	}
	p.Dir = absolute(o.Dir)
	if p.Dir == "" {
		p.Dir = absolute(s.base())
	}
	if p.Dir == "" {
		p.Dir = absolute(".")
	}
	if info, err := os.Stat(p.Dir); err != nil || !info.IsDir() {
		errs = append(errs, fmt.Errorf("dir: %s is no directory", p.Dir))
	}
	args, err := findProgram(p.Dir, command)
	p.Args = args
	p.Env = s.besideEnv(o)
	if o.Namespace != "" {
		access := s.Shared.Access(holder, o.Namespace)
		p.Mark = o.Namespace
		p.Late = func() ([]string, []string, error) {
			return []string{"PAGI_BRIDGE_SHARED=" + access.Address()}, nil, nil
		}
	}
	return p, errors.Join(append(errs, err)...)
}

// findProgram returns a command whose program's file is absolute.
func findProgram(dir string, command []string) ([]string, error) {
	if len(command) == 0 || command[0] == "" {
		return nil, errors.New("needs a command, as [redis-server, redis.conf]")
	}
	program := command[0]
	if strings.Contains(program, "/") && !filepath.IsAbs(program) {
		program = filepath.Join(dir, program)
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return nil, fmt.Errorf("command: %w", err)
	}
	return append([]string{path}, command[1:]...), nil
}

// besideEnv returns the environment of a service or a job.
func (s *Site) besideEnv(o *Beside) []string {
	env := slices.DeleteFunc(os.Environ(), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return supervisor.IsPrivate(name) || name == environmentVariable
	})
	add := map[string]string{environmentVariable: s.Settings.Environment, "PLACK_ENV": s.Settings.Environment}
	if name := o.User; name != "" {
		add["USER"], add["LOGNAME"] = name, name
		if u, err := user.Lookup(name); err == nil {
			add["HOME"] = u.HomeDir
		}
	}
	maps.Copy(add, o.Env)
	for _, name := range slices.Sorted(maps.Keys(add)) {
		env = append(env, name+"="+add[name])
	}
	return env
}

// job returns a job of the site.
func (s *Site) job(o *CronOptions) (beside.Job, error) {
	job := beside.Job{Timeout: max(0, o.Timeout)}
	command, err := s.jobCommand(o)
	if err != nil {
		return job, err
	}
	if job.Program, err = s.beside(&o.Beside, "job "+o.Name, command); err != nil {
		return job, err
	}
	if len(o.Command) == 0 {
		lib, before := []string{}, job.Late
		for _, dir := range s.Settings.Lib {
			lib = append(lib, absolute(dir))
		}
		job.Mark += " " + strings.Join(lib, ":")
		job.Late = func() (env, args []string, err error) {
			if before != nil {
				if env, args, err = before(); err != nil {
					return nil, nil, err
				}
			}
			dir, err := s.runtime()
			if own := os.Getenv("PERL5LIB"); own != "" {
				lib = append(lib[:len(lib):len(lib)], own)
			}
			return append(env, "PERL5LIB="+strings.Join(append(lib[:len(lib):len(lib)], dir), ":")), args, err
		}
	}
	job.Schedule, job.Next, err = o.times()
	return job, err
}

// jobCommand returns the command of a job.
func (s *Site) jobCommand(o *CronOptions) ([]string, error) {
	perl := s.Settings.Perl
	if perl == "" {
		perl = "perl"
	}
	given := 0
	for _, is := range []bool{len(o.Command) > 0, o.Perl != "", o.Code != ""} {
		if is {
			given++
		}
	}
	switch {
	case given != 1:
		return nil, errors.New("needs one of command, perl and code")
	case o.Perl != "":
		file := absolute(o.Perl)
		if _, err := os.Stat(file); err != nil {
			return nil, fmt.Errorf("perl: %w", err)
		}
		return []string{perl, file}, nil
	case o.Code != "":
		return []string{perl, "-we", "use strict; " + o.Code}, nil
	}
	return o.Command, nil
}

// times returns the schedule of a job: as a text, and the first of its times after another.
func (o *CronOptions) times() (string, func(time.Time) time.Time, error) {
	switch {
	case (o.Schedule == "") == (o.Every == 0):
		return "", nil, errors.New(`needs either schedule, as "30 4 * * *" or "@hourly", or every, as 5m`)
	case o.Every != 0 && o.Every < time.Second:
		return "", nil, fmt.Errorf("every: must be at least 1s, is %v", o.Every)
	case o.Every != 0 && o.Timezone != "":
		return "", nil, errors.New("timezone: is for schedule")
	case o.Every != 0:
		return "every " + o.Every.String(), func(t time.Time) time.Time { return t.Add(o.Every) }, nil
	case strings.HasPrefix(o.Schedule, "TZ=") || strings.HasPrefix(o.Schedule, "CRON_TZ="):
		return "", nil, errors.New("schedule: give the time zone as timezone")
	}
	zone := time.Local
	if o.Timezone != "" {
		var err error
		if zone, err = time.LoadLocation(o.Timezone); err != nil {
			return "", nil, fmt.Errorf("timezone: %w", err)
		}
	}
	schedule, err := cron.ParseStandard(o.Schedule)
	if err != nil {
		return "", nil, fmt.Errorf("schedule: %q: %w", o.Schedule, err)
	}
	text := o.Schedule
	if o.Timezone != "" {
		text += " (" + o.Timezone + ")"
	}
	return text, func(t time.Time) time.Time { return schedule.Next(t.In(zone)) }, nil
}
