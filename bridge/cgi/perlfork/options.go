//go:build unix

package perlfork

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/hung"
	"github.com/pagi-go/pagi-bridge/internal/option"
)

// The values of the option mode.
const (
	// ModeAuto runs Perl scripts by ModeFork where that gives the same results, and
	// everything else by ModeExec.
	ModeAuto = "auto"
	// ModeExec starts a process for each request.
	ModeExec = "exec"
	// ModeFork compiles a Perl script once, and forks a process for each request.
	ModeFork = "fork"
	// ModePersistent compiles a Perl script once, and runs it many times in the same
	// processes.
	ModePersistent = "persistent"
)

// Options say how the Perl scripts of a mount are run. The zero value of each is its default.
type Options struct {
	// Mode says how scripts are run: "exec" starts a process for each request; "fork" has a
	// Perl script compiled once and forks for each request; "persistent" runs the same
	// compiled script again and again. The default is "auto": fork for Perl scripts that were
	// asked for twice. What is no Perl script, or has an effect while it is compiled, is run by
	// exec in every mode.
	Mode string `yaml:"mode" default:"auto"`
	// PreloadModules are loaded before each script that is compiled once, in this order.
	PreloadModules []string `yaml:"preload_modules"`
	// AcceleratedScripts is how many scripts stay compiled, the last used ones. The
	// default is 64.
	AcceleratedScripts int `yaml:"accelerated_scripts" default:"64"`
	// Persistent are names of scripts, or patterns such as "reports/*.cgi", that are run
	// as mode persistent does. A pattern without a slash is about the file's name alone.
	Persistent []string `yaml:"persistent"`
	// PersistentWorkers is the number of processes that a persistent script has at most.
	// The default is 4.
	PersistentWorkers int `yaml:"persistent_workers" default:"4"`
	// PersistentRequests is how many requests such a process answers before another
	// takes its place. The default is 1000; negative means no limit.
	PersistentRequests int `yaml:"persistent_requests" default:"1000"`
	// StackSignal is the signal by which a Perl script that is compiled once is asked for its Perl stack, before it is ended
	// for time: "ILL", the default, "FPE", "BUS", or "off". Perl runs the handlers of these alone at once. A second signal,
	// number 60, goes with it.
	StackSignal string `yaml:"stack_signal"`
}

// Signal returns StackSignal, or the default.
func (o *Options) Signal() hung.Signal {
	if o.StackSignal == "" {
		return hung.DefaultSignal
	}
	return hung.Signal(o.StackSignal)
}

var isModule = regexp.MustCompile(`^[A-Za-z_]\w*(::\w+)*$`)

// Prepare checks the options and sets those that are not set to their defaults. cpuTime is the limit of processor time
// of each process, 0 for none. An error begins with the option's name in a site file.
func (o *Options) Prepare(cpuTime time.Duration) error {
	option.SetDefaults(o)
	switch o.Mode {
	case ModeAuto, ModeExec:
	case ModeFork, ModePersistent:
		if !canFork {
			return fmt.Errorf("mode: %s needs Linux on a 64-bit machine", o.Mode)
		}
	default:
		return fmt.Errorf("mode: must be auto, exec, fork or persistent, is %q", o.Mode)
	}
	for _, pattern := range o.Persistent {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			return fmt.Errorf("persistent: %q is not a pattern: %w", pattern, errors.Join(err, errPattern))
		}
	}
	if len(o.Persistent) > 0 && o.Mode == ModeExec {
		return errors.New("persistent: cannot be combined with mode exec")
	}
	if (len(o.Persistent) > 0 || o.Mode == ModePersistent) && cpuTime != 0 {
		return errors.New("persistent: cannot be combined with cpu_time, which a process has once for all its requests")
	}
	if err := o.Signal().Check(); err != nil {
		return fmt.Errorf("stack_signal: %w", err)
	}
	for _, name := range o.PreloadModules {
		if !isModule.MatchString(name) {
			return fmt.Errorf("preload_modules: %q is not the name of a Perl module", name)
		}
	}
	switch {
	case o.AcceleratedScripts < 0:
		return fmt.Errorf("accelerated_scripts: must not be negative, is %d", o.AcceleratedScripts)
	case o.PersistentWorkers < 0:
		return fmt.Errorf("persistent_workers: must not be negative, is %d", o.PersistentWorkers)
	}
	return nil
}

var errPattern = errors.New("it must be a name or a pattern such as reports/*.cgi")

// isPersistent reports whether the operator wants this script to be run many times in
// the same processes. A pattern without a slash is about the name alone.
func (c *Config) isPersistent(file string) bool {
	if c.Mode == ModePersistent {
		return true
	}
	below := strings.TrimPrefix(file, c.Root+"/")
	for _, pattern := range c.Persistent {
		name := below
		if !strings.Contains(pattern, "/") {
			name = path.Base(file)
		}
		if ok, _ := path.Match(pattern, name); ok { // Prepare has checked it
			return true
		}
	}
	return false
}

// moduleFile is the key of a module in Perl's %INC.
func moduleFile(module string) string { return strings.ReplaceAll(module, "::", "/") + ".pm" }
