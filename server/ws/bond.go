package ws

import (
	"sync"

	"github.com/pagi-go/pagi-bridge/internal/tenure"
)

// bond is what keeps a connection when its application is replaced.
//
//	loose --Relieve, the part of the application stays--> held --the part goes--> (goAway)
//	  └────────────────── the connection ends ──────────────┴──> cut
type bond struct {
	tenure *tenure.Tenure // of the part that serves it; nil: none

	mu     sync.Mutex
	cut    bool
	loosen func() bool // not nil while held
}

// follow does what the server's stage says.
func (c *conn) follow(now stage) {
	switch {
	case now == draining, now == relieved && !c.hold():
		c.goAway()
	}
}

// hold reports whether the connection goes on without its server's application.
func (c *conn) hold() bool {
	b := &c.bond
	b.mu.Lock()
	defer b.mu.Unlock()
	r := c.server.Replaced
	switch {
	case b.cut || b.loosen != nil:
	case r == nil || !r.Stay(b.tenure):
		return false
	default:
		b.loosen = b.tenure.AfterEnd(c.goAway)
	}
	return true
}

// leave is called when the connection has ended.
func (c *conn) leave() {
	b := &c.bond
	b.mu.Lock()
	loosen := b.loosen
	b.cut, b.loosen = true, nil
	b.mu.Unlock()
	if loosen != nil {
		loosen()
		c.server.Replaced.Leave()
	}
}
