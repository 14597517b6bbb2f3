//go:build unix && !linux

package cgi

import (
	"errors"
	"syscall"
)

// resourcesWork is false where a process cannot be given limits from outside.
const resourcesWork = false

var errNoResources = errors.New("limits of resources are there on Linux only")

func (a *app) limitResources(int) error { return errNoResources }

func (a *app) limitZygote(int) error { return errNoResources }

func (a *app) setLauncher() error { return nil }

func (a *app) forkExecLaunched(command, *syscall.ProcAttr) (int, error) { return 0, errNoResources }

func forkExecStopped(command, *syscall.ProcAttr, func(int) error) (int, error) {
	return 0, errNoResources
}
