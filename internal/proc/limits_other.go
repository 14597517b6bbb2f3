//go:build unix && !linux

package proc

import (
	"errors"
	"syscall"
)

// LimitsWork says whether Limits can be set on this system.
const LimitsWork = false

var errLinuxOnly = errors.New("limits and traced processes are there on Linux only")

func (p *Profile) setLauncher() error { return errLinuxOnly }

func (p *Profile) startLimited(Spec, *syscall.ProcAttr) (pid int, err error) { return 0, errLinuxOnly }

func forkExecTraced(string, []string, *syscall.ProcAttr) (pid int, err error) { return 0, errLinuxOnly }
