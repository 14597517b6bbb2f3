//go:build unix

package proc

import (
	"os"
	"strconv"
	"sync"
	"syscall"
)

// HideInherited marks every descriptor above 2 close-on-exec, so that no process of Start gets one that Spec.Files does not
// name. Go does so with all that it opens itself; this is about what this process was started with.
// The first Start calls it too.
func HideInherited() {
	entries, err := os.ReadDir("/dev/fd")
	if err != nil { // there is no /dev: inherited descriptors have low numbers
		for fd := 3; fd < 1024; fd++ {
			syscall.CloseOnExec(fd)
		}
		return
	}
	for _, entry := range entries {
		if fd, err := strconv.Atoi(entry.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
}

var hideOnce = sync.OnceFunc(HideInherited)
