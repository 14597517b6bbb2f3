//go:build unix && !linux

package job

import "syscall"

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

// Enlarge does nothing: these systems' pipes have no size that can be set.
func (p *Pipe) Enlarge() {}
