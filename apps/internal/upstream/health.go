package upstream

import (
	"log/slog"
	"time"
)

// state says whether a backend gets requests.
//
//	up ── MaxFails failures within FailTimeout ──> resting ── a request succeeds ──> up
//	up, resting ── a check fails ──> sick ── a check succeeds ──> up
//
// A backend that rests gets one request each time that FailTimeout has passed.
type state uint8

const (
	up state = iota
	resting
	sick
)

func (s state) String() string { return [...]string{"up", "resting", "down"}[s] }

// health is what is known of a backend.
type health struct {
	state state
	fails int
	first time.Time // when the first of the fails happened
	until time.Time // when a backend that rests gets a request again
}

// Succeeded notes that a backend has answered a request.
func (p *Pool) Succeeded(b *Backend) {
	p.mu.Lock()
	defer p.mu.Unlock()
	b.health.fails = 0
	if b.health.state == resting {
		p.change(b, up, nil)
	}
}

// Failed notes that a backend has not answered a request, and why.
func (p *Pool) Failed(b *Backend, cause error) {
	b.failed.Add(1)
	if p.options.MaxFails <= 0 || len(p.backends) == 1 {
		return // without another backend, a request that is not tried is worse than one that fails
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	h, now := &b.health, time.Now()
	if h.fails == 0 || now.Sub(h.first) > p.options.FailTimeout {
		h.fails, h.first = 0, now
	}
	h.fails++
	switch {
	case h.state == resting:
		h.until = now.Add(p.options.FailTimeout)
	case h.state == up && h.fails >= p.options.MaxFails:
		h.until = now.Add(p.options.FailTimeout)
		p.change(b, resting, cause)
	}
}

// checked notes the outcome of a check.
func (p *Pool) checked(b *Backend, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err != nil && b.health.state != sick:
		p.change(b, sick, err)
	case err == nil && b.health.state != up:
		p.change(b, up, nil)
	}
}

// change moves a backend to another state and logs that. mu is held.
func (p *Pool) change(b *Backend, to state, cause error) {
	from := b.health.state
	b.health.state = to
	logger := p.options.Logger
	if logger == nil {
		logger = slog.Default()
	}
	switch {
	case to == up:
		b.health.fails = 0
		logger.Info("proxy: the backend is up again", "backend", b.Name)
	case from == up:
		logger.Warn("proxy: the backend is down and gets no requests", "backend", b.Name, "error", cause)
	}
}

// usable reports whether a backend may get a request at this time. mu is held.
func (h *health) usable(now time.Time) bool {
	return h.state == up || h.state == resting && !now.Before(h.until)
}
