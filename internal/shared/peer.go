package shared

import (
	"sync"

	"github.com/pagi-go/pagi-bridge/internal/proc"
)

// peer is the process that has opened a connection. The zero value is one that nothing is known of.
type peer struct {
	mu     sync.Mutex
	handle *proc.Handle
}

func (p *peer) open(pid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handle = proc.Open(pid)
}

// hasEnded reports whether the process has ended. It does not wait.
func (p *peer) hasEnded() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.handle != nil && p.handle.EndsWithin(0)
}

func (p *peer) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.handle != nil {
		p.handle.Close()
		p.handle = nil
	}
}
