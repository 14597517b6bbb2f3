package psgi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/perlpagi"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// maxBuffered is the default of PSGI.MaxBuffered.
const maxBuffered = 16 << 20

// HasLoop reports whether the application runs in workers with an event loop.
func (o *PSGI) HasLoop() bool { return o.Loop != "" && o.Loop != "false" }

// checkLoop reports options that are only for the other kind of workers, and wrong values of Loop.
func (o *PSGI) checkLoop() error {
	var errs []error
	report := func(name string, is bool, why string) {
		if is {
			errs = append(errs, option.Wrong(name, "%s", why))
		}
	}
	if !o.HasLoop() {
		const why = "is for workers with an event loop (loop: true)"
		report("max_scopes", o.MaxScopes != 0, why)
		report("stream_grace", o.StreamGrace != 0, why)
		report("max_buffered", o.MaxBuffered != 0, why)
		return errors.Join(errs...)
	}
	const why = "is not for workers with an event loop (loop)"
	report("max_batch", o.MaxBatch != 0, why)
	report("retry", o.Retry != "", why)
	report("warmup", o.Warmup != nil, why)
	report("answer_memory", o.AnswerMemory != 0, why+"; max_buffered is")
	report("answer_spool", o.AnswerSpool != 0, why+"; max_buffered is")
	report("answer_spool_total", o.AnswerSpoolTotal != 0, why)
	return errors.Join(append(errs, option.CheckSigns(o))...)
}

// looped returns the application as one for workers with an event loop.
func (o PSGI) looped() (perlpagi.PAGI, error) {
	if err := o.complete(); err != nil {
		return perlpagi.PAGI{}, err
	}
	loop := o.Loop
	if loop == "true" {
		loop = ""
	}
	if o.MaxBuffered == 0 {
		o.MaxBuffered = maxBuffered
	}
	return perlpagi.PAGI{
		PSGI: true, App: o.App, Code: o.Code, Modules: o.Modules, Lib: o.Lib, Perl: o.Perl, Dir: o.Dir, Environment: o.Environment,
		Env: o.Env, LocalLib: o.LocalLib, Umask: o.Umask, Loop: loop, Processes: o.Processes, Limits: o.Limits.Limits,
		MaxScopes: o.MaxScopes, QueueSize: o.QueueSize, QueueTimeout: o.QueueTimeout, StreamGrace: o.StreamGrace,
		MaxBuffered: o.MaxBuffered, MaxBodySize: o.MaxBodySize, Loaded: o.Loaded, Counts: o.Counts, Shared: o.Shared, Watched: o.Watched, Name: o.Name, Logger: o.Logger,
		Crew: o.Crew,
	}, nil
}

// buildLoop is Build for such an application.
func (o PSGI) buildLoop() (pagi.App, error) {
	looped, err := o.looped()
	if err != nil {
		return nil, err
	}
	app, err := looped.Build()
	if err != nil {
		return nil, err
	}
	return &framed{App: app, name: o.Name, log: looped.Logger, limit: max(o.RequestTimeout, 0)}, nil
}

// framed gives the answers of an application the form that the server wants: it mends the headers, takes off a chunked
// coding, and leaves out what is longer than the Content-Length.
type framed struct {
	pagi.App
	name  string
	log   *slog.Logger
	limit time.Duration // RequestTimeout; 0: none
}

// Serve implements pagi.App.
func (f *framed) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type != pagi.TypeHTTP {
		return f.App.Serve(ctx, scope, receive, send)
	}
	a := &answer{to: client{scope, send}, length: announced{left: -1}, excess: func() { noteExcess(f.log, f.name, scope) }}
	if f.limit == 0 {
		return f.App.Serve(ctx, scope, receive, a.send)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := &watchdog{limit: f.limit, timer: time.AfterFunc(f.limit, func() { cancel(errSilent) })}
	defer w.timer.Stop()
	err := f.App.Serve(ctx, scope, w.receive(receive), w.send(a.send))
	if err != nil && errors.Is(context.Cause(ctx), errSilent) {
		return &pagi.StatusError{Status: 504, Message: "Gateway Timeout", Err: fmt.Errorf("psgi: %w for %v", errSilent, f.limit)}
	}
	return err
}

// errSilent says that an application has done nothing for a request for RequestTimeout.
var errSilent = errors.New("the application has not answered")

// watchdog ends a request for which an application does nothing. Its time does not run while the client is waited for.
type watchdog struct {
	limit time.Duration
	timer *time.Timer
	whole atomic.Bool // the request has come
}

func (w *watchdog) receive(receive pagi.Receive) pagi.Receive {
	w.timer.Stop()
	return func(ctx context.Context) (pagi.Event, error) {
		ev, err := receive(ctx)
		if chunk, is := ev.(pagi.HTTPRequest); is && !chunk.More {
			w.whole.Store(true)
			w.timer.Reset(w.limit)
		}
		return ev, err
	}
}

func (w *watchdog) send(send pagi.Send) pagi.Send {
	return func(ctx context.Context, ev pagi.Event) error {
		w.timer.Stop()
		err := send(ctx, ev)
		if w.whole.Load() {
			w.timer.Reset(w.limit)
		}
		return err
	}
}

// steerable is what the application of workers can do besides serving.
type steerable interface {
	Reload(context.Context) error
	Resize(n int) int
	Status() status.Backend
}

// Reload replaces the workers by new ones, as perlpagi does.
func (f *framed) Reload(ctx context.Context) error { return f.App.(steerable).Reload(ctx) }

// Resize changes the number of workers by n.
func (f *framed) Resize(n int) int { return f.App.(steerable).Resize(n) }

// Status returns the state of the workers.
func (f *framed) Status() status.Backend { return f.App.(steerable).Status() }

// answer is an answer on its way to the client.
type answer struct {
	to     client
	coding *dechunker // set if the application framed the body itself
	length announced
	empty  bool // its status has no body (RFC 9110 section 6.4.1)
	excess func()
	ended  bool
}

func (a *answer) send(ctx context.Context, ev pagi.Event) error {
	switch e := ev.(type) {
	case pagi.HTTPResponseStart:
		chunked, err := isChunked(&e.Headers)
		if err != nil {
			return err
		}
		if chunked {
			a.coding = &dechunker{}
		}
		tidy(&e.Headers)
		a.empty = e.Status == http.StatusNoContent || e.Status == http.StatusNotModified
		a.length = announcedBy(&wire.Head{Status: e.Status, Headers: e.Headers}, a.to.scope)
		return a.to.send(ctx, e)
	case pagi.HTTPResponseBody:
		return a.body(ctx, e)
	}
	return a.to.send(ctx, ev)
}

func (a *answer) body(ctx context.Context, e pagi.HTTPResponseBody) error {
	switch {
	case a.ended:
		return nil
	case a.empty:
		a.ended = true
		return a.to.send(ctx, pagi.HTTPResponseBody{})
	}
	if e.FH != nil {
		if n := a.length.take(e.Length); n < e.Length {
			e.Length, e.More = n, false
			a.excess()
		}
		a.ended = !e.More
		return a.to.send(ctx, e)
	}
	if a.coding != nil {
		var err error
		if e.Body, err = a.coding.decode(e.Body); err == nil && !e.More {
			err = a.coding.end()
		}
		if err != nil {
			return &pagi.StatusError{Status: 502, Message: "Bad Gateway", Err: err}
		}
	}
	if n := a.length.take(int64(len(e.Body))); n < int64(len(e.Body)) {
		e.Body, e.More = e.Body[:n], false
		a.excess()
	}
	a.ended = !e.More
	return a.to.send(ctx, e)
}
