package upstream

import (
	"hash/fnv"
	"io"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/status"
)

// The ways to choose among backends.
const (
	RoundRobin       = "round_robin"
	LeastConnections = "least_connections"
	Hash             = "hash"
)

// Options are those of a Pool.
type Options struct {
	// Balance is RoundRobin, LeastConnections or Hash; "" means RoundRobin.
	Balance string
	// MaxFails is how many failures within FailTimeout keep a backend from requests for
	// FailTimeout. 0 or less: none do.
	MaxFails    int
	FailTimeout time.Duration
	// Logger is told when a backend goes down and when it is up again; nil means slog.Default.
	Logger *slog.Logger
}

// Pool chooses among backends.
type Pool struct {
	options  Options
	backends []*Backend

	mu sync.Mutex
}

// NewPool returns a Pool of at least one backend.
func NewPool(o Options, backends []*Backend) *Pool { return &Pool{options: o, backends: backends} }

// Backends returns all backends, whatever their states.
func (p *Pool) Backends() []*Backend { return p.backends }

// Status describes all backends.
func (p *Pool) Status() (list []status.Upstream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, b := range p.backends {
		list = append(list, status.Upstream{
			Address: b.Name, State: b.health.state.String(), Sent: b.sent.Load(), Failed: b.failed.Load(), Inflight: b.Running(),
		})
	}
	return list
}

// Pick returns the backend for the next request, which is none of tried. key is what Hash looks at.
// If no backend is left, Pick returns nil and the time after which one may be.
func (p *Pool) Pick(key string, tried []*Backend) (*Backend, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	wait := time.Duration(math.MaxInt64)
	var room [8]*Backend
	usable := room[:0]
	for _, b := range p.backends {
		switch {
		case b.health.usable(now):
			if !slices.Contains(tried, b) {
				usable = append(usable, b)
			}
		case b.health.state == resting:
			wait = min(wait, b.health.until.Sub(now))
		}
	}
	if len(usable) == 0 {
		if wait == math.MaxInt64 {
			wait = p.options.FailTimeout
		}
		return nil, wait
	}
	b := p.choose(key, usable)
	if b.health.state == resting {
		b.health.until = now.Add(p.options.FailTimeout) // until the outcome of this request
	}
	return b, 0
}

func (p *Pool) choose(key string, usable []*Backend) *Backend {
	switch {
	case len(usable) == 1:
		return usable[0]
	case p.options.Balance == Hash:
		return rendezvous(key, usable)
	case p.options.Balance == LeastConnections:
		usable = leastBusy(usable)
	}
	return roundRobin(usable)
}

// roundRobin gives turns by weight, and spreads the turns of a heavy backend among the others'.
func roundRobin(usable []*Backend) *Backend {
	total, best := 0, usable[0]
	for _, b := range usable {
		total += b.Weight
		b.current += b.Weight
		if b.current > best.current {
			best = b
		}
	}
	best.current -= total
	return best
}

// leastBusy returns the backends with the fewest requests in relation to their weights. It reorders
// usable.
func leastBusy(usable []*Backend) []*Backend {
	var least []*Backend
	load := math.Inf(1)
	for _, b := range usable {
		l := float64(b.Running()) / float64(b.Weight)
		if l < load {
			load, least = l, least[:0]
		}
		if l == load {
			least = append(least, b)
		}
	}
	return least
}

// rendezvous gives a key always to the same backend as long as that is usable. When a backend goes,
// only its keys move. Every gateway with the same backends chooses alike.
func rendezvous(key string, usable []*Backend) *Backend {
	best, highest := usable[0], math.Inf(-1)
	for _, b := range usable {
		h := fnv.New64a()
		_, _ = io.WriteString(h, b.Name) // writing to a hash never fails
		_, _ = h.Write([]byte{0})
		_, _ = io.WriteString(h, key)
		// A number in (0, 1), and a score that makes the chance proportional to the weight.
		unit := (float64(mixed(h.Sum64())>>11) + 0.5) / (1 << 53)
		if score := float64(b.Weight) / -math.Log(unit); score > highest {
			best, highest = b, score
		}
	}
	return best
}

// mixed spreads a hash over all bits: in those of FNV, short keys differ too little.
func mixed(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
