package apps

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
)

// Shadow proves a rewritten application on real traffic before it takes over. The first application
// answers every request. The second one gets a copy of each GET and HEAD, or of a sample, after the
// answer, and the two answers are compared. Differences are counted and logged, and both versions are
// kept in a directory.
//
// The client never waits for the second application, and never sees anything of it. There are limits
// on how many copies wait and run at a time; a copy beyond them is dropped and counted. A copy has
// the client's headers, cookies and authorization included, so the second application must do nothing
// in a GET that may not be done twice. Its header X-Shadow is 1.
//
// An answer that is a file is compared by status and headers alone.
type Shadow struct {
	// Apps are two: the one that answers, and the one that gets the copies.
	Apps []pagi.App `yaml:"-"`

	ShadowOptions `yaml:",inline"`
	// OnDifference is told of every difference; nil tells no one.
	OnDifference func(Difference) `yaml:"-"`
	// Logger gets a record of each difference; nil means slog.Default.
	Logger *slog.Logger `yaml:"-"`

	once    sync.Once
	options ShadowOptions // with defaults
	ignore  []*regexp.Regexp
	copies  copies
	kept    keeper
	told    *rate.Limiter
}

// ShadowOptions are the options of a Shadow.
type ShadowOptions struct {
	// Sample is the share of requests that is copied, in percent.
	Sample float64 `yaml:"sample" default:"100"`
	// Headers are the response headers to compare; none means Content-Type and Location.
	Headers []string `yaml:"headers"`
	// Ignore are regular expressions for text that may differ, such as dates and tokens. It is taken out
	// of both bodies before they are compared.
	Ignore []string `yaml:"ignore" expand:"no"`
	// Skip are statuses with which the second application says that it does not have a path yet, 404 for
	// example. Such answers are not compared.
	Skip []int `yaml:"skip"`
	// MaxBody is how much of a body is compared.
	MaxBody int `yaml:"max_body" unit:"bytes" default:"1MiB"`
	// Concurrency is how many copies run at a time, and Queue how many more may wait.
	Concurrency int `yaml:"concurrency" default:"2"`
	Queue       int `yaml:"queue" default:"100"`
	// Timeout is how long the second application may take for a copy.
	Timeout time.Duration `yaml:"timeout" default:"30s"`
	// Dir is the directory in which differing answers are kept, each as three files: the request, and
	// the two answers. "" keeps none. MaxKept is how many are kept at most.
	Dir     string `yaml:"dir" path:"yes"`
	MaxKept int    `yaml:"max_kept" default:"100"`
}

func init() { parts.App[Shadow]("shadow", "") }

// ShadowStats counts what a Shadow has done.
type ShadowStats struct {
	// Compared are pairs of answers, of which Different differ. Failed are copies without an answer,
	// which count as different, too. Skipped are answers with a status of Skip. Dropped are copies
	// beyond the limits.
	Compared, Different, Failed, Skipped, Dropped int64
}

// Check reports wrong options, and what the applications report.
func (s *Shadow) Check() error {
	o := s.withDefaults()
	var errs []error
	if len(s.Apps) != 2 {
		errs = append(errs, pagi.BadOption("shadow", "needs two applications: the one that answers, and the one that is compared with it"))
	}
	for i, app := range s.Apps {
		if err := pagi.Check(app); err != nil {
			errs = append(errs, fmt.Errorf("shadow[%d]: %w", i, err))
		}
	}
	if o.Sample <= 0 || o.Sample > 100 {
		errs = append(errs, pagi.BadOption("sample", "must be more than 0 and at most 100 percent, is %v", o.Sample))
	}
	for _, text := range o.Ignore {
		if _, err := regexp.Compile(text); err != nil {
			errs = append(errs, pagi.BadOption("ignore", "%w", err))
		}
	}
	for name, value := range map[string]int64{
		"max_body": int64(o.MaxBody), "concurrency": int64(o.Concurrency), "queue": int64(o.Queue), "timeout": int64(o.Timeout), "max_kept": int64(o.MaxKept),
	} {
		if value < 0 {
			errs = append(errs, pagi.BadOption(name, "must not be negative"))
		}
	}
	if o.Dir != "" {
		if err := checkDir(o.Dir); err != nil {
			errs = append(errs, pagi.BadOption("dir", "%w", err))
		}
	}
	return errors.Join(errs...)
}

func (o ShadowOptions) withDefaults() ShadowOptions {
	option.SetDefaults(&o)
	if o.Headers == nil {
		o.Headers = []string{"content-type", "location"}
	}
	return o
}

// prepare reads the options before the first request.
func (s *Shadow) prepare() {
	o := s.withDefaults()
	for _, text := range o.Ignore {
		s.ignore = append(s.ignore, regexp.MustCompile(text)) // Check has compiled it
	}
	s.options = o
	s.copies.limit, s.copies.queue = o.Concurrency, o.Queue
	s.kept = keeper{dir: o.Dir, max: int64(o.MaxKept)}
	s.told = rate.NewLimiter(1, 10)
}

// Stats returns the counters.
func (s *Shadow) Stats() ShadowStats {
	c := &s.copies
	return ShadowStats{c.compared.Load(), c.different.Load(), c.failed.Load(), c.skipped.Load(), c.dropped.Load()}
}

// Serve lets the first application answer, and gives the second one a copy.
func (s *Shadow) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	s.once.Do(s.prepare)
	switch {
	case scope.Type == pagi.TypeLifespan:
		return s.serveLifespan(ctx, scope, receive, send)
	case scope.Type != pagi.TypeHTTP || scope.Method != http.MethodGet && scope.Method != http.MethodHead, rand.Float64()*100 >= s.options.Sample:
		return s.Apps[0].Serve(ctx, scope, receive, send)
	}
	first := &answer{max: s.options.MaxBody}
	err := s.Apps[0].Serve(ctx, scope, receive, func(ctx context.Context, ev pagi.Event) error {
		err := send(ctx, ev)
		if err == nil {
			first.record(ev)
		}
		return err
	})
	if err == nil && first.complete && ctx.Err() == nil {
		copied := copyOf(scope)
		s.copies.start(func(life context.Context) { s.compare(life, copied, first) })
	}
	return err
}

// serveLifespan starts and stops both applications. The second one is stopped when the copies have
// ended.
func (s *Shadow) serveLifespan(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	second := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		var run *lifespan.Run
		startup := func(ctx context.Context) (err error) {
			run, err = lifespan.Start(ctx, s.Apps[1], scope)
			return err
		}
		return lifespan.Serve(ctx, receive, send, startup, func(ctx context.Context) error {
			s.copies.stop(ctx)
			if run == nil {
				return nil
			}
			return run.Shutdown(ctx)
		})
	})
	return lifespan.FanOut(ctx, scope, receive, send, []lifespan.Child{{Name: "shadow[0]", App: s.Apps[0]}, {Name: "shadow[1]", App: second}})
}

// compare lets the second application answer a copy, and compares the answers.
func (s *Shadow) compare(life context.Context, scope *pagi.Scope, first *answer) {
	ctx, cancel := context.WithTimeout(life, s.options.Timeout)
	defer cancel()
	client := newAbsent(ctx)
	scope.Connection = client
	second := &answer{max: s.options.MaxBody}
	err := serveCopy(ctx, s.Apps[1], scope, second, client)
	if life.Err() != nil {
		return // the program ends
	}
	d := Difference{Method: scope.Method, Target: scope.RequestURI(), First: first.status, Second: second.status}
	if err == nil && slices.Contains(s.options.Skip, second.status) {
		s.copies.skipped.Add(1)
		return
	}
	s.copies.compared.Add(1)
	switch {
	case err != nil:
		s.copies.failed.Add(1)
		d.What, d.Err = "failure", err
	default:
		d.What = s.differs(first, second)
	}
	if d.What == "" {
		return
	}
	s.copies.different.Add(1)
	d.Kept, err = s.kept.keep(scope, &d, first, second)
	s.tell(d, err)
}

func (s *Shadow) tell(d Difference, keepErr error) {
	if s.OnDifference != nil {
		s.OnDifference(d)
	}
	logger := s.Logger
	if logger == nil {
		logger = slog.Default()
	}
	level := slog.LevelWarn
	if !s.told.Allow() {
		level = slog.LevelDebug
	}
	args := []any{"what", d.What, "method", d.Method, "target", d.Target, "first", d.First, "second", d.Second}
	if d.Err != nil {
		args = append(args, "error", d.Err)
	}
	if d.Kept != "" {
		args = append(args, "kept", d.Kept)
	}
	logger.Log(context.Background(), level, "answers differ", args...)
	if keepErr != nil {
		logger.Error("differing answers cannot be kept", "dir", s.options.Dir, "error", keepErr)
	}
}

// copyOf returns the scope of a copy. It shares nothing that the server may use again.
func copyOf(scope *pagi.Scope) *pagi.Scope {
	c := scope.Clone()
	c.Headers = append(scope.Headers.Clone(), pagi.Header{Name: "x-shadow", Value: "1"})
	c.Extensions, c.Transport = nil, nil
	c.Notes, c.Stash = &pagi.LogNotes{}, &pagi.Stash{}
	return c
}

// serveCopy calls the application for a copy whose request has no body.
func serveCopy(ctx context.Context, app pagi.App, scope *pagi.Scope, a *answer, client *absent) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &pagi.PanicError{Value: v}
		}
	}()
	received := false
	receive := func(ctx context.Context) (pagi.Event, error) {
		if !received {
			received = true
			return pagi.HTTPRequest{}, nil
		}
		<-ctx.Done()
		return pagi.HTTPDisconnect{}, nil
	}
	err = app.Serve(ctx, scope, receive, func(_ context.Context, ev pagi.Event) error {
		if err := pagi.Validate(pagi.TypeHTTP, ev); err != nil {
			return err
		}
		a.record(ev)
		client.sent(a)
		return ctx.Err()
	})
	if err == nil && !a.complete {
		err = errors.New("it returned before its response was complete")
	}
	if err != nil && ctx.Err() != nil {
		err = fmt.Errorf("%w: %w", err, context.Cause(ctx))
	}
	return err
}

// copies runs copies, a few at a time.
type copies struct {
	limit, queue int

	compared, different, failed, skipped, dropped atomic.Int64

	mu      sync.Mutex
	waiting []func(context.Context)
	running sync.WaitGroup
	busy    int
	life    context.Context // nil: no copy has run yet
	end     context.CancelFunc
	stopped bool
}

// start runs a copy, now or later, or drops it.
func (c *copies) start(run func(context.Context)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.stopped:
	case c.busy < c.limit:
		if c.life == nil {
			c.life, c.end = context.WithCancel(context.Background())
		}
		c.busy++
		c.running.Add(1)
		go c.work(c.life, run)
	case len(c.waiting) < c.queue:
		c.waiting = append(c.waiting, run)
	default:
		c.dropped.Add(1)
	}
}

// work runs copies until none waits.
func (c *copies) work(life context.Context, run func(context.Context)) {
	defer c.running.Done()
	for run != nil {
		run(life)
		run = c.next()
	}
}

// next returns the copy that has waited longest. Without one, the goroutine ends.
func (c *copies) next() (run func(context.Context)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) == 0 || c.stopped {
		c.busy--
		return nil
	}
	run = c.waiting[0]
	c.waiting = slices.Delete(c.waiting, 0, 1)
	return run
}

// stop drops the copies that wait, and ends those that run.
func (c *copies) stop(ctx context.Context) {
	c.mu.Lock()
	c.stopped, c.waiting = true, nil
	end := c.end
	c.mu.Unlock()
	if end == nil {
		return
	}
	end()
	done := make(chan struct{})
	go func() { c.running.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done(): // the application does not obey its context; the program ends anyway
	}
}
