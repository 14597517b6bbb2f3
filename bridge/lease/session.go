package lease

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/worker"
)

// maxRecords is how many records may wait for a gateway.
const maxRecords = 4096

// session is a gateway that is attached: what it is to be told, and what it has reported. Keeper.mu guards its fields
// unless their comments say otherwise. What waits to be told is bounded: changes of one worker replace each other, and
// records beyond maxRecords are counted.
type session struct {
	keeper  *Keeper
	gateway string
	number  int             // counts the sessions
	ctx     context.Context // ends when the gateway has gone
	forget  func() bool
	wake    chan struct{} // capacity 1

	endpoints map[int]Endpoint
	news      bool // the facts have changed
	listed    bool
	records   []Record
	lost      int
	loaded    []string

	report  Report
	heard   time.Time       // when it came
	workers map[int]holding // that the gateway is connected to
	ended   map[int]bool    // of workers that have ended: whether at work
}

// holding is what a gateway does with a worker.
type holding struct {
	idle  bool
	since time.Time
}

func newSession(ctx context.Context, k *Keeper, gateway string) *session {
	return &session{
		keeper: k, gateway: gateway, ctx: ctx, wake: make(chan struct{}, 1),
		endpoints: map[int]Endpoint{}, ended: map[int]bool{}, workers: map[int]holding{},
	}
}

// signal wakes Next. It may be called with or without the lock.
func (s *session) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// countLocked counts the requests that a worker has answered for this gateway.
func (s *session) countLocked(id, served int) {
	p := s.keeper.posts[id]
	if p == nil {
		return
	}
	if more := served - p.counted[s.gateway]; more > 0 {
		p.counted[s.gateway] = served
		p.process.ServedMany(more)
	}
}

// Next implements Stream.
func (s *session) Next() (Changes, error) {
	for {
		s.keeper.mu.Lock()
		c, some := s.takeLocked()
		stopped := s.keeper.stopped || s.keeper.sessions[s.gateway] != s
		s.keeper.mu.Unlock()
		switch {
		case some:
			return c, nil
		case stopped:
			return Changes{}, worker.ErrClosed
		}
		select {
		case <-s.wake:
		case <-s.ctx.Done():
			return Changes{}, context.Cause(s.ctx)
		}
	}
}

// takeLocked takes all that waits.
func (s *session) takeLocked() (c Changes, some bool) {
	k := s.keeper
	some = !s.listed || s.news || len(s.endpoints)+len(s.records)+len(s.loaded)+s.lost > 0
	c = Changes{Position: k.position, Listed: !s.listed, Records: s.records, Lost: s.lost, Loaded: s.loaded}
	for _, id := range slices.Sorted(maps.Keys(s.endpoints)) {
		c.Endpoints = append(c.Endpoints, s.endpoints[id])
	}
	if s.news {
		facts := k.facts
		facts.RetryAfter = k.group.RetryAfter()
		c.Facts = &facts
	}
	clear(s.endpoints)
	s.listed, s.news, s.records, s.lost, s.loaded = true, false, nil, 0, nil
	return c, some
}

// NewRecorder returns a slog.Handler that makes Records of what it handles, and passes them to put. A record that put does
// not take goes to fallback, if that takes its level.
func NewRecorder(put func(Record) bool, fallback slog.Handler) slog.Handler {
	return &recorder{put: put, fallback: fallback}
}

type recorder struct {
	put      func(Record) bool
	fallback slog.Handler
	attrs    []Attr
	group    string // the names of the groups, each with a dot behind it
}

// Enabled implements slog.Handler. The gateway decides, whose level may change, so all levels are taken.
func (r *recorder) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (r *recorder) Handle(ctx context.Context, record slog.Record) error {
	out := Record{Time: record.Time, Level: int(record.Level), Message: record.Message, Attrs: slices.Clone(r.attrs)}
	record.Attrs(func(a slog.Attr) bool {
		out.Attrs = append(out.Attrs, r.attr(a))
		return true
	})
	if r.put(out) || !r.fallback.Enabled(ctx, record.Level) {
		return nil
	}
	return r.fallback.Handle(ctx, record)
}

func (r *recorder) attr(a slog.Attr) Attr { return Attr{r.group + a.Key, a.Value.Resolve().String()} }

// WithAttrs implements slog.Handler.
func (r *recorder) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *r
	with.attrs = slices.Clone(r.attrs)
	for _, a := range attrs {
		with.attrs = append(with.attrs, r.attr(a))
	}
	with.fallback = r.fallback.WithAttrs(attrs)
	return &with
}

// WithGroup implements slog.Handler.
func (r *recorder) WithGroup(name string) slog.Handler {
	with := *r
	with.group += name + "."
	with.fallback = r.fallback.WithGroup(name)
	return &with
}

// record gives a record to the gateway that was attached last, and reports whether there is one.
func (k *Keeper) record(out Record) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	s := k.newestLocked()
	if s == nil {
		return false
	}
	if len(s.records) < maxRecords {
		s.records = append(s.records, out)
	} else {
		s.lost++
	}
	s.signal()
	return true
}

// newestLocked returns the gateway that was attached last and is not closing, else any.
func (k *Keeper) newestLocked() (newest *session) {
	for _, s := range k.sessions {
		if newest == nil || newest.report.Closing && !s.report.Closing || newest.report.Closing == s.report.Closing && s.number > newest.number {
			newest = s
		}
	}
	return newest
}
