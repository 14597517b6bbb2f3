package mux

import (
	"context"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/status"
)

// lobby is where scopes wait until a worker can take them: while the only one starts, or while each has as many
// streams as it takes. The zero value lets no scope wait.
type lobby struct {
	most     int           // how many may wait
	patience time.Duration // how long one may wait

	waits status.WaitCounter // those that have ended

	mu      sync.Mutex
	waiting []*ticket
}

// ticket is one scope that waits.
type ticket struct {
	called chan struct{} // capacity 1: there may be a place
	turned chan struct{} // closed: there will be none soon
	since  time.Time
}

// enter returns a ticket, or nil if too many wait already.
func (l *lobby) enter() *ticket {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) >= l.most {
		return nil
	}
	t := &ticket{called: make(chan struct{}, 1), turned: make(chan struct{}), since: time.Now()}
	l.waiting = append(l.waiting, t)
	return t
}

// leave gives a ticket back. A call that it has had goes to the next one.
func (l *lobby) leave(t *ticket) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waits.Add(time.Since(t.since))
	for i, other := range l.waiting {
		if other == t {
			l.waiting = append(l.waiting[:i], l.waiting[i+1:]...)
			break
		}
	}
	l.callLocked()
}

// call tells the first ticket that there may be a place.
func (l *lobby) call() {
	if l.most == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.callLocked()
}

func (l *lobby) callLocked() {
	if len(l.waiting) == 0 {
		return
	}
	select {
	case l.waiting[0].called <- struct{}{}:
	default:
	}
}

// clear turns all away.
func (l *lobby) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.waiting {
		close(t.turned)
	}
	l.waiting = nil
}

// load returns how many wait, and for how long the first one has.
func (l *lobby) load(now time.Time) (n int, oldest time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		return 0, 0
	}
	return len(l.waiting), now.Sub(l.waiting[0].since)
}

// await waits until a worker has a place for a scope. It returns nil where none has in time, or none will soon.
func (w *Workers) await(ctx context.Context) (*Conn, error) {
	if w.group.Circuit() != worker.Closed {
		return nil, nil
	}
	t := w.lobby.enter()
	if t == nil {
		return nil, nil
	}
	defer w.lobby.leave(t)
	patience := time.NewTimer(w.lobby.patience)
	defer patience.Stop()
	for {
		if c := w.set.acquire(); c != nil { // also before the first wait: a place may have come meanwhile
			return c, nil
		}
		select {
		case <-t.called:
		case <-t.turned:
			return nil, nil
		case <-patience.C:
			return nil, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
