package apps

import (
	"sync"
	"time"
)

// patience limits how long the backend is waited for, in one phase after the other. Between two
// phases, while the client is waited for, no time passes. The zero value waits for nothing.
type patience struct {
	mu    sync.Mutex
	timer *time.Timer
	due   time.Time
	over  func() // what to do when it is due; nil: nothing is waited for
	// answered says that the response has begun. From then on the request body waits without a
	// limit.
	answered bool
}

// await begins a wait, which takes the place of the one before. over is called when limit has
// passed, unless another wait begins or done is called. A limit of 0 or less is none.
func (p *patience) await(limit time.Duration, over func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.awaitLocked(limit, over)
}

func (p *patience) awaitLocked(limit time.Duration, over func()) {
	if limit <= 0 {
		p.over = nil
		return
	}
	p.over, p.due = over, time.Now().Add(limit)
	if p.timer == nil {
		p.timer = time.AfterFunc(limit, p.fire)
		return
	}
	p.timer.Reset(limit)
}

// awaitRequest is await for the time before the response.
func (p *patience) awaitRequest(limit time.Duration, over func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.answered {
		p.awaitLocked(limit, over)
	}
}

// rest ends a wait before the response: now the client is waited for.
func (p *patience) rest() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.answered {
		p.over = nil
	}
}

// answer ends the waits for the response.
func (p *patience) answer() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answered, p.over = true, nil
}

// isAnswered reports whether the response has begun, or the attempt has ended.
func (p *patience) isAnswered() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.answered
}

// done ends a wait. It does not wait for an over that runs already.
func (p *patience) done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = nil
}

// end ends all waits.
func (p *patience) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answered, p.over = true, nil
	if p.timer != nil {
		p.timer.Stop()
	}
}

// fire is called by the timer, perhaps for a wait that is over: done does not stop the timer, which
// costs more than to let it run.
func (p *patience) fire() {
	p.mu.Lock()
	over := p.over
	if left := time.Until(p.due); over != nil && left > 0 {
		p.timer.Reset(left)
		over = nil
	}
	if over != nil {
		p.over = nil
	}
	p.mu.Unlock()
	if over != nil {
		over()
	}
}
