package mux

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
)

// Ping says how a worker is asked for signs of life.
type Ping struct {
	// Every is the time between two PINGs; 0 means none.
	Every time.Duration
	// Patience is how long a worker may give no sign of life while a PING waits.
	Patience time.Duration
}

// DefaultPing are the times of PROTOCOL.md, section 7.
var DefaultPing = Ping{Every: 5 * time.Second, Patience: 20 * time.Second}

// pulse knows when the other side has last given a sign of life.
type pulse struct {
	mu      sync.Mutex
	number  uint64 // of the last PING
	waiting bool   // for its PONG
	asked   time.Time

	heard   atomic.Bool  // since asked
	unheard atomic.Int64 // scopes that were opened since the other side has said anything
}

// beat notes a frame.
func (p *pulse) beat() {
	if !p.heard.Load() {
		p.heard.Store(true)
	}
	if p.unheard.Load() != 0 {
		p.unheard.Store(0)
	}
}

// ask returns the token of the next PING. ok is false while one waits; silent then says for how long
// nothing was heard since.
func (p *pulse) ask(now time.Time) (token [8]byte, ok bool, silent time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.waiting {
		if p.heard.Swap(false) {
			p.asked = now
		}
		return token, false, now.Sub(p.asked)
	}
	p.number++
	p.waiting, p.asked = true, now
	p.heard.Store(false)
	return p.token(), true, 0
}

func (p *pulse) token() (token [8]byte) {
	for i := range token {
		token[i] = byte(p.number >> (8 * (7 - i)))
	}
	return token
}

func (p *pulse) answered(token [8]byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.waiting || token != p.token() {
		return fmt.Errorf("%w: a PONG without its PING", ErrProtocol)
	}
	p.waiting = false
	return nil
}

// keepPinging sends PINGs, and ends the connection when the other side gives no sign of life.
func (l *link) keepPinging(ping Ping) {
	ticker := time.NewTicker(min(ping.Every, max(ping.Patience/4, time.Millisecond)))
	defer ticker.Stop()
	var last time.Time
	for {
		select {
		case <-l.done:
			return
		case now := <-ticker.C:
			if now.Sub(last) < ping.Every && !l.pulse.isWaiting() {
				continue
			}
			token, ok, silent := l.pulse.ask(now)
			switch {
			case ok:
				last = now
				_ = l.put(func(b []byte) []byte { return wire.AppendFrame(b, wire.Ping, 0, 0, token[:]) }) // its reader notices
			case silent > ping.Patience:
				if first := l.streams.oldest(); first != nil {
					l.stuck = first.request()
				}
				l.close(fmt.Errorf("%w for %v", ErrBlocked, silent.Round(time.Millisecond)))
				return
			}
		}
	}
}

func (p *pulse) isWaiting() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting
}
