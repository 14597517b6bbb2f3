//go:build unix && !linux

package cgi

import (
	"syscall"
	"time"
)

// platformNote is logged when the application is built.
const platformNote = "on this system scripts survive a crash of the gateway; only Linux can end them with it"

// attributes asks for a process group of its own. Scripts survive the death of
// this process: Pdeathsig is Linux's.
func (p *process) attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func rawPipe() (r, w int, err error) {
	var fds [2]int
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err = syscall.Pipe(fds[:]); err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	return fds[0], fds[1], err
}

// enlarge is for systems whose pipes have a size that can be set.
func (p *pipe) enlarge() {}

// await reaps the process when it ends. The group keeps its number for as long
// as it has a member; an empty one could in theory be a stranger's by the time
// finish signals it, which only Linux's way of waiting rules out.
func (p *process) await() { p.wait4() }

// awaitBriefly is for systems that can wait for a time.
func (p *process) awaitBriefly(time.Duration) bool { return false }

func (p *process) reap() {}
