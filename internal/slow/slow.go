// Package slow logs requests that take longer than a threshold: once while they run, and once when they have ended.
//
// A mount with a threshold has its requests go through Watch.Around, which notes them in a list. One goroutine looks through
// the list now and then; no request has a timer. What serves a request tells by Of which process has it and for how long it
// has waited. A mount without a threshold has none of that, and Of returns nil, whose methods do nothing.
package slow

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/hung"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

const (
	// MostLines is how many lines are logged in a second. The others are counted.
	MostLines = 10
	// leastLook and mostLook bound the time between two looks. It is a quarter of the smallest threshold otherwise.
	leastLook, mostLook = 10 * time.Millisecond, time.Second
)

// key is the name of a Request in its scope.
const key = "pagi-bridge.running"

// Watch has the running requests of the mounts of a site. The zero value works.
type Watch struct {
	// Logger gets the lines; nil means slog.Default.
	Logger *slog.Logger

	least time.Duration // the smallest threshold, 0 for none; not changed once Run is called

	mu    sync.Mutex
	first *Request // of the list, in the order in which they began
	last  *Request
	lines limit
}

// Request is a request that runs in a mount with a threshold. The methods of a nil Request do nothing.
type Request struct {
	method, path, id string
	began            time.Time
	queued           atomic.Int64 // when it began to wait for a process, in nanoseconds behind began
	waited           atomic.Int64 // how long it has waited, in nanoseconds, and one more; 0: it waits, or nothing is known
	pid              atomic.Int64 // of its process, 0 for none

	// The rest is guarded by Watch.mu.
	mount      *mount // or the part of it that has the request
	prev, next *Request
	told       bool // a line was logged, or left out
}

// Of returns the Request of a scope, nil where its mount has no threshold.
func Of(scope *pagi.Scope) *Request {
	r, _ := scope.Value(key).(*Request)
	return r
}

// Queued says that the request begins to wait for a process.
func (r *Request) Queued() {
	if r != nil {
		r.queued.Store(int64(time.Since(r.began)))
		r.waited.Store(0)
	}
}

// Assigned says that a process has got the request. 0 stands for a process that is not known.
func (r *Request) Assigned(pid int) {
	if r != nil {
		r.waited.Store(int64(time.Since(r.began)) - r.queued.Load() + 1)
		r.pid.Store(int64(pid))
	}
}

// Any reports whether a mount has a threshold.
func (w *Watch) Any() bool { return w.least > 0 }

// mount is a mount with a threshold, or a part of one. A threshold of 0 is never reached.
type mount struct {
	watch     *Watch
	name      string
	threshold time.Duration
	locate    func(method, path, id string) (pid int)
	app       pagi.App
}

// Around returns the application of a mount whose requests are logged when they take longer than the threshold. locate, if
// not nil, finds the process of a request whose server does not tell it; 0 means none. It may take its time. A threshold of 0 is for a
// mount whose parts have thresholds. Around must be called before Run.
func (w *Watch) Around(name string, threshold time.Duration, locate func(method, path, id string) (pid int), app pagi.App) pagi.App {
	return w.newMount(name, threshold, locate, app)
}

func (w *Watch) newMount(name string, threshold time.Duration, locate func(method, path, id string) (pid int), app pagi.App) *mount {
	if threshold > 0 && (w.least == 0 || threshold < w.least) {
		w.least = threshold
	}
	return &mount{watch: w, name: name, threshold: threshold, locate: locate, app: app}
}

// AroundPart is Around for a part of a mount, within the application that Around is given. From when a request comes to the part, the
// part's name and threshold count for it in the place of the mount's. With a threshold of 0 it is not logged.
func (w *Watch) AroundPart(name string, threshold time.Duration, locate func(method, path, id string) (pid int), app pagi.App) pagi.App {
	return &part{w.newMount(name, threshold, locate, app)}
}

// part is a part of a mount.
type part struct{ *mount }

// Serve implements pagi.App.
func (p *part) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if r := Of(scope); r != nil {
		p.watch.mu.Lock()
		r.mount = p.mount
		p.watch.mu.Unlock()
	}
	return p.app.Serve(ctx, scope, receive, send)
}

// isSlowLocked reports whether the request has passed its threshold.
func (r *Request) isSlowLocked(after time.Duration) bool {
	return r.mount.threshold > 0 && after >= r.mount.threshold
}

// Serve implements pagi.App. WebSockets and event streams last as long as their clients like, and are not looked at.
func (m *mount) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) (err error) {
	if scope.Type != pagi.TypeHTTP {
		return m.app.Serve(ctx, scope, receive, send)
	}
	r := &Request{mount: m, method: scope.Method, path: scope.RootPath + scope.Path, began: time.Now()}
	r.id, _ = scope.Value(scopekey.RequestID).(string)
	var sent answer
	m.watch.add(r)
	defer func() { m.watch.remove(r, &sent, err) }()
	return m.app.Serve(ctx, scope.With(key, r), receive, func(ctx context.Context, ev pagi.Event) error {
		sent.note(ev)
		return send(ctx, ev)
	})
}

// answer is what was sent of an answer.
type answer struct {
	status int
	bytes  int64
}

func (a *answer) note(ev pagi.Event) {
	switch e := ev.(type) {
	case pagi.HTTPResponseStart:
		a.status = e.Status
	case pagi.HTTPResponseBody:
		a.bytes += int64(len(e.Body)) + max(e.Length, 0)
	}
}

func (w *Watch) add(r *Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if r.prev = w.last; r.prev == nil {
		w.first = r
	} else {
		r.prev.next = r
	}
	w.last = r
}

// remove takes a request off the list that has ended, and logs its end where it was slow.
func (w *Watch) remove(r *Request, sent *answer, err error) {
	w.mu.Lock()
	if r.prev == nil {
		w.first = r.next
	} else {
		r.prev.next = r.next
	}
	if r.next == nil {
		w.last = r.prev
	} else {
		r.next.prev = r.prev
	}
	took := time.Since(r.began)
	mount, log := r.mount, r.isSlowLocked(took) && w.mayLogLocked(time.Now())
	w.mu.Unlock()
	if !log {
		return
	}
	var refused *pagi.StatusError
	if sent.status == 0 && errors.As(err, &refused) {
		sent.status = refused.Status
	}
	attrs := append(r.attributes(mount), "took", took.Round(time.Millisecond), "status", sent.status, "bytes", sent.bytes)
	if err != nil {
		attrs = append(attrs, "error", err)
	}
	w.logger().Warn("a slow request has ended", attrs...)
}

// attributes are what a line says of a request.
func (r *Request) attributes(mount *mount) []any {
	attrs := []any{"mount", mount.name, "request", r.method + " " + r.path}
	if r.id != "" {
		attrs = append(attrs, "request_id", r.id)
	}
	switch waited := r.waited.Load(); {
	case waited > 0:
		attrs = append(attrs, "waited", time.Duration(waited-1).Round(time.Millisecond))
	case r.queued.Load() > 0:
		attrs = append(attrs, "waits", (time.Since(r.began) - time.Duration(r.queued.Load())).Round(time.Millisecond))
	}
	if pid := r.pid.Load(); pid != 0 {
		attrs = append(attrs, "pid", pid)
	}
	return attrs
}

func (w *Watch) logger() *slog.Logger {
	if w.Logger == nil {
		return slog.Default()
	}
	return w.Logger
}

// Run looks for slow requests until ctx ends.
func (w *Watch) Run(ctx context.Context) {
	if w.least == 0 {
		return
	}
	ticker := time.NewTicker(min(max(w.least/4, leastLook), mostLook))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			w.tellLeftOut()
			return
		case now := <-ticker.C:
			w.look(now)
		}
	}
}

// look logs the requests that have passed their thresholds since the last look.
func (w *Watch) look(now time.Time) {
	type at struct {
		*Request
		mount *mount
	}
	var slow []at
	w.mu.Lock()
	for r := w.first; r != nil; r = r.next {
		if !r.told && r.isSlowLocked(now.Sub(r.began)) {
			r.told = true
			if w.mayLogLocked(now) {
				slow = append(slow, at{r, r.mount})
			}
		}
	}
	out := w.lines.leftOut(now)
	w.mu.Unlock()
	w.tell(out)
	for _, r := range slow {
		if r.pid.Load() == 0 && r.mount.locate != nil {
			r.pid.CompareAndSwap(0, int64(r.mount.locate(r.method, r.path, r.id)))
		}
		attrs := append(r.attributes(r.mount), "running_for", time.Since(r.began).Round(time.Millisecond))
		if pid := int(r.pid.Load()); pid != 0 {
			attrs = append(attrs, hung.KernelAttributes(hung.Look(pid))...)
		}
		w.logger().Warn("a request is slow", attrs...)
	}
}

// mayLogLocked reports whether one more line may be logged. If not, it is counted.
func (w *Watch) mayLogLocked(now time.Time) bool { return w.lines.allows(now) }

// tellLeftOut logs how many lines were left out and not told of.
func (w *Watch) tellLeftOut() {
	w.mu.Lock()
	out := w.lines.out
	w.lines.out = 0
	w.mu.Unlock()
	w.tell(out)
}

func (w *Watch) tell(out int) {
	if out > 0 {
		w.logger().Warn("lines about slow requests were left out", "lines", out)
	}
}

// limit lets MostLines lines pass in each second.
type limit struct {
	second time.Time
	lines  int // in it
	out    int // left out, and not told
}

func (l *limit) allows(now time.Time) bool {
	if now.Sub(l.second) >= time.Second {
		l.second, l.lines = now, 0
	}
	if l.lines >= MostLines {
		l.out++
		return false
	}
	l.lines++
	return true
}

// leftOut returns how many lines were left out in a second that is over, once.
func (l *limit) leftOut(now time.Time) (n int) {
	if now.Sub(l.second) >= time.Second {
		n, l.out = l.out, 0
	}
	return n
}
