package mux

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Set are the connections to the workers of one mount. Scopes go to the one with the least weight. The zero
// value is empty. It may be used by several goroutines; to serve a scope takes no lock of the Set.
type Set struct {
	mu    sync.Mutex
	conns atomic.Pointer[[]*Conn] // never changed, only replaced
}

// Add adds a connection.
func (set *Set) Add(c *Conn) {
	set.change(func(list []*Conn) []*Conn { return append(list, c) })
}

// Remove removes a connection. Its scopes go on.
func (set *Set) Remove(c *Conn) {
	set.change(func(list []*Conn) []*Conn {
		return slices.DeleteFunc(list, func(other *Conn) bool { return other == c })
	})
}

func (set *Set) change(f func([]*Conn) []*Conn) {
	set.mu.Lock()
	defer set.mu.Unlock()
	list := f(slices.Clone(set.list()))
	set.conns.Store(&list)
}

func (set *Set) list() []*Conn {
	if list := set.conns.Load(); list != nil {
		return *list
	}
	return nil
}

// acquire returns the open connection with the least weight, of several such any, with a stream
// reserved on it. It returns nil if none can take a scope.
func (set *Set) acquire() *Conn {
	list := set.list()
	for range list { // the best may have been taken meanwhile
		var best *Conn
		first := rand.IntN(len(list))
		for i := range list {
			c := list[(first+i)%len(list)]
			if c.isOpen() && (best == nil || c.weight() < best.weight()) {
				best = c
			}
		}
		switch {
		case best == nil:
			return nil
		case best.acquire():
			return best
		}
	}
	return nil
}

// Serve has one of the workers serve a scope, as Conn.Serve does. The error is ErrBusy if none can
// take it now.
func (set *Set) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	c := set.acquire()
	if c == nil {
		return ErrBusy
	}
	return c.serve(ctx, scope, receive, send)
}
