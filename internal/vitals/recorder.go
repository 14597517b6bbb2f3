package vitals

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/status"
)

// The times of a Recorder.
const (
	// Every is the time between two views while they are watched.
	Every = 2 * time.Second
	// PointEvery is the time between two points, MostPoints how many of them are kept: an hour.
	PointEvery = 10 * time.Second
	MostPoints = 360
	// MostWatchers is how many may watch at once.
	MostWatchers = 32
)

// Point is what is kept of a moment for plots.
type Point struct {
	At     int64    `json:"at"` // seconds since 1970
	Rate   float64  `json:"rate"`
	Failed float64  `json:"failed"` // per second
	P50    *float64 `json:"p50"`    // milliseconds; null where no request has ended
	P99    *float64 `json:"p99"`
	Memory int64    `json:"memory"`
	Queued int      `json:"queued"`
}

// ErrTooMany says that MostWatchers watch already.
var ErrTooMany = errors.New("too many watch already")

// Recorder keeps the points of the last hour, and gives views to those who watch. Without a watcher, it looks at the gateway
// once for each point.
type Recorder struct {
	// Source describes the gateway; nil while it cannot.
	Source func() *status.Gateway
	// Every and PointEvery are the constants of these names where they are 0.
	Every, PointEvery time.Duration

	mu       sync.Mutex
	points   []Point // the oldest first
	latest   *View
	watchers map[chan Update]struct{}
	ended    bool
}

// Update is a View, and the point that came with it, nil for none.
type Update struct {
	View  *View
	Point *Point
}

// Run looks at the gateway until ctx ends. Then all watchers' channels are closed.
func (r *Recorder) Run(ctx context.Context) {
	every, pointEvery := r.Every, r.PointEvery
	if every == 0 {
		every = Every
	}
	if pointEvery == 0 {
		pointEvery = PointEvery
	}
	r.begin()
	defer r.end()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	var looks Looks
	var point Look // that of the last point
	for now := time.Now(); ; {
		due := point.Gateway == nil || now.Sub(point.At) >= pointEvery-every/2
		if due || r.isWatched() {
			if g := r.Source(); g != nil {
				look := Look{At: time.Now(), Gateway: g}
				u := Update{View: looks.Add(look)}
				if due && point.Gateway != nil {
					u.Point = pointOf(look, point)
				}
				if due {
					point = look
				}
				r.publish(u)
			}
		}
		select {
		case <-ctx.Done():
			return
		case now = <-ticker.C:
		}
	}
}

// pointOf makes a point of what has happened since the point before.
func pointOf(look, before Look) *Point {
	v := Make(look, before, before)
	p := &Point{At: look.At.Unix(), P50: v.P50, P99: v.P99, Memory: v.Memory, Queued: v.Queued}
	if v.Rate != nil {
		p.Rate, p.Failed = *v.Rate, *v.FailedRate
	}
	return p
}

func (r *Recorder) isWatched() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.watchers) > 0
}

// publish gives an update to all watchers. One that has not taken the update before gets this one instead.
func (r *Recorder) publish(u Update) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.latest = u.View
	if u.Point != nil {
		if len(r.points) == MostPoints {
			r.points = append(r.points[:0], r.points[1:]...)
		}
		r.points = append(r.points, *u.Point)
	}
	for w := range r.watchers {
		next := u
		select {
		case missed := <-w:
			if next.Point == nil {
				next.Point = missed.Point
			}
		default:
		}
		w <- next // it has room, and only this goroutine sends
	}
}

// Watch returns the points so far, and a channel with the updates from now on, which the end of Run closes. stop must be called.
func (r *Recorder) Watch() (points []Point, updates <-chan Update, stop func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.watchers) >= MostWatchers {
		return nil, nil, nil, ErrTooMany
	}
	w := make(chan Update, 1)
	if r.ended {
		close(w)
		return append(points, r.points...), w, func() {}, nil
	}
	if r.watchers == nil {
		r.watchers = map[chan Update]struct{}{}
	}
	r.watchers[w] = struct{}{}
	if r.latest != nil {
		w <- Update{View: r.latest}
	}
	return append(points, r.points...), w, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.watchers, w)
	}, nil
}

func (r *Recorder) begin() {
	r.mu.Lock()
	r.ended = false
	r.mu.Unlock()
}

// end closes all channels.
func (r *Recorder) end() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = true
	for w := range r.watchers {
		close(w)
	}
	r.watchers = nil
}
