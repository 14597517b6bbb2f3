//go:build unix && !linux

package proc

import (
	"syscall"
	"time"
)

// DiesWithParentWorks says whether Spec.DiesWithParent has an effect on this system.
const DiesWithParentWorks = false

func (p *Process) attributes(bool) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func openHandle(int) (int, error) { return -1, nil }

// await reaps the process when it ends. The group keeps its number for as long as it has a member. An empty group's number
// could in theory be another's by the time Finish signals it; only Linux's way of waiting rules that out.
func (p *Process) await() { p.wait4() }

// awaitBriefly is for systems that can wait for a limited time.
func (p *Process) awaitBriefly(time.Duration) bool { return false }

func (p *Process) reap() {}
