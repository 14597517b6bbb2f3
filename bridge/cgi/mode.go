//go:build unix

package cgi

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
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

// Defaults of the options of these modes.
const (
	DefaultAcceleratedScripts = 64
	DefaultPersistentWorkers  = 4
	DefaultPersistentRequests = 1000
)

var isModule = regexp.MustCompile(`^[A-Za-z_]\w*(::\w+)*$`)

// setMode checks the options that have to do with Perl scripts.
func (a *app) setMode() error {
	setDefault(&a.Mode, ModeAuto)
	setDefault(&a.AcceleratedScripts, DefaultAcceleratedScripts)
	setDefault(&a.PersistentWorkers, DefaultPersistentWorkers)
	setDefault(&a.PersistentRequests, DefaultPersistentRequests)
	switch a.Mode {
	case ModeAuto, ModeExec:
	case ModeFork, ModePersistent:
		if !canAccelerate {
			return fmt.Errorf("mode: %s needs Linux on a 64-bit machine", a.Mode)
		}
	default:
		return fmt.Errorf("mode: must be auto, exec, fork or persistent, is %q", a.Mode)
	}
	for _, pattern := range a.Persistent {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			return fmt.Errorf("persistent: %q is not a pattern: %w", pattern, errors.Join(err, errPattern))
		}
	}
	if len(a.Persistent) > 0 && a.Mode == ModeExec {
		return errors.New("persistent: cannot be combined with mode exec")
	}
	if (len(a.Persistent) > 0 || a.Mode == ModePersistent) && a.CPUTime != 0 {
		return errors.New("persistent: cannot be combined with cpu_time, which a process has once for all its requests")
	}
	for _, name := range a.PreloadModules {
		if !isModule.MatchString(name) {
			return fmt.Errorf("preload_modules: %q is not the name of a Perl module", name)
		}
	}
	switch {
	case a.AcceleratedScripts < 0:
		return fmt.Errorf("accelerated_scripts: must not be negative, is %d", a.AcceleratedScripts)
	case a.PersistentWorkers < 0:
		return fmt.Errorf("persistent_workers: must not be negative, is %d", a.PersistentWorkers)
	}
	a.fast = newAccelerator(a)
	return nil
}

var errPattern = errors.New("it must be a name or a pattern such as reports/*.cgi")

// isPersistent reports whether the operator wants this script to be run many times in
// the same processes. A pattern without a slash is about the name alone.
func (a *app) isPersistent(file string) bool {
	if a.Mode == ModePersistent {
		return true
	}
	below := strings.TrimPrefix(file, a.Root+"/")
	for _, pattern := range a.Persistent {
		name := below
		if !strings.Contains(pattern, "/") {
			name = path.Base(file)
		}
		if ok, _ := path.Match(pattern, name); ok { // setMode has checked it
			return true
		}
	}
	return false
}

// moduleFile is the key of a module in Perl's %INC.
func moduleFile(module string) string { return strings.ReplaceAll(module, "::", "/") + ".pm" }
