//go:build unix && !linux

package hung

import (
	"syscall"

	"github.com/pagi-go/pagi-bridge/internal/status"
)

// sigaction: the runtime installs no handler here, because it cannot be seen whether it is still there.
const sigaction = 0

// dispositions say nothing on this system.
type dispositions struct{}

func (dispositions) caught(syscall.Signal) bool { return false }

func numbers(Signal) (gentle, hard syscall.Signal) { return 0, 0 }

// Look returns nil: only Linux tells where a process is.
func Look(int) *status.Kernel { return nil }

func look(int) (*status.Kernel, dispositions) { return nil, dispositions{} }
