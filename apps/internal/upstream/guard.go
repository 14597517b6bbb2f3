package upstream

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"
)

// lookTime is how long a request runs before its client is watched. Most requests are over before.
// Watching costs several times as much as the other work of a guard.
const lookTime = 50 * time.Millisecond

// past is a deadline that wakes every read or write that waits.
var past = time.Unix(1, 0)

// A Wait is what a request waits for.
type Wait struct {
	phase  string // "the response", for example
	option string // the option with the limit
}

// The waits of a direct request.
var (
	forResponse = &Wait{"the response", "response_timeout"}
	forBody     = &Wait{"the next piece of the body", "idle_timeout"}
)

// OverdueError is the error of a backend that has taken too long.
type OverdueError struct {
	Phase  string // what was waited for
	Option string // the option with the limit
	Limit  time.Duration
}

func (e *OverdueError) Error() string {
	return fmt.Sprintf("waited %v for %s (option %s)", e.Limit, e.Phase, e.Option)
}

// Timeout reports true: it is the mark of such errors in package net.
func (e *OverdueError) Timeout() bool { return true }

// guard ends a request by its connection when the backend takes too long, or when its client has
// left. Its timer is not set for each request. It goes on running to the earliest moment at which
// something may be due, and then looks.
type guard struct {
	conn net.Conn

	mu      sync.Mutex
	timer   *time.Timer
	fires   time.Time // when the timer does; zero: it does not run
	turn    uint64    // counts the requests
	ctx     context.Context
	unwatch func() bool   // ends the watch of ctx; nil: there is none
	look    time.Time     // when that watch begins
	due     time.Time     // when the wait is over; zero: there is no limit
	limit   time.Duration // of the wait
	wait    *Wait
	cause   error // why the connection was cut; nil: it was not
	// answered says that the response has begun. From then on the request body waits without a limit.
	answered bool
}

// begin begins a request, and its first wait.
func (g *guard) begin(ctx context.Context, limit time.Duration, wait *Wait) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.turn++
	now := time.Now()
	g.ctx, g.look, g.due, g.cause, g.answered = ctx, now.Add(lookTime), time.Time{}, nil, false
	if limit > 0 {
		g.due, g.limit, g.wait = now.Add(limit), limit, wait
	}
	g.wake(now)
}

// await begins a wait, which takes the place of the one before. A limit of 0 or less is none.
func (g *guard) await(limit time.Duration, wait *Wait) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.awaitLocked(limit, wait)
}

func (g *guard) awaitLocked(limit time.Duration, wait *Wait) {
	if limit <= 0 {
		g.due = time.Time{}
		return
	}
	now := time.Now()
	g.due, g.limit, g.wait = now.Add(limit), limit, wait
	g.wake(now)
}

// answer ends the wait for the response.
func (g *guard) answer() {
	g.mu.Lock()
	g.answered, g.due = true, time.Time{}
	g.mu.Unlock()
}

// awaitRequest is await for the time before the response.
func (g *guard) awaitRequest(limit time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.answered && g.ctx != nil {
		g.awaitLocked(limit, forResponse)
	}
}

// restRequest ends a wait before the response: now the client is waited for.
func (g *guard) restRequest() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.answered {
		g.due = time.Time{}
	}
}

// fail cuts the connection of a request that cannot go on.
func (g *guard) fail(cause error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ctx != nil {
		g.cut(cause)
	}
}

// rest ends a wait. Until the next one the backend is not waited for.
func (g *guard) rest() {
	g.mu.Lock()
	g.due = time.Time{}
	g.mu.Unlock()
}

// wake has the timer fire at the next moment at which something is due, or before. mu is held.
func (g *guard) wake(now time.Time) {
	var next time.Time
	if g.unwatch == nil {
		next = g.look
	}
	if !g.due.IsZero() && (next.IsZero() || g.due.Before(next)) {
		next = g.due
	}
	if next.IsZero() || !g.fires.IsZero() && !g.fires.After(next) {
		return
	}
	g.fires = next
	if g.timer == nil {
		g.timer = time.AfterFunc(next.Sub(now), g.fire)
	} else {
		g.timer.Reset(next.Sub(now))
	}
}

// fire is called by the timer.
func (g *guard) fire() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fires = time.Time{}
	if g.ctx == nil || g.cause != nil {
		return
	}
	now := time.Now()
	if g.unwatch == nil && !now.Before(g.look) {
		turn, ctx := g.turn, g.ctx
		g.unwatch = context.AfterFunc(ctx, func() { g.left(turn, context.Cause(ctx)) })
	}
	if !g.due.IsZero() && !now.Before(g.due) {
		g.cut(&OverdueError{g.wait.phase, g.wait.option, g.limit})
		return
	}
	g.wake(now)
}

// left cuts the connection if it still has the request whose context has ended.
func (g *guard) left(turn uint64, cause error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ctx != nil && g.turn == turn {
		g.cut(cause)
	}
}

// cut wakes the reads and writes of the connection. The first cause counts. mu is held.
func (g *guard) cut(cause error) {
	if g.cause == nil {
		g.cause = cause
		_ = g.conn.SetDeadline(past) // it cannot be set if the connection is closed: then nothing waits
	}
}

// limitRead sets the read deadline, unless the connection was cut. The zero time removes it.
func (g *guard) limitRead(t time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cause == nil {
		_ = g.conn.SetReadDeadline(t) // as in cut
	}
}

// end ends the request and returns why it was cut; nil says that it was not.
func (g *guard) end() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.unwatch != nil {
		g.unwatch()
		g.unwatch = nil
	}
	g.ctx, g.due = nil, time.Time{}
	return g.cause
}

// why returns why the connection was cut; err if it was not.
func (g *guard) why(err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cause != nil {
		return g.cause
	}
	if g.ctx != nil && g.ctx.Err() != nil {
		return context.Cause(g.ctx)
	}
	return err
}

// stop ends the timer of a connection that is closed.
func (g *guard) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.timer != nil {
		g.timer.Stop()
	}
	if g.unwatch != nil {
		g.unwatch()
	}
	g.ctx = nil
}
