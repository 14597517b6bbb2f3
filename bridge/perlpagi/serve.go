package perlpagi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/mux"
	"github.com/pagi-go/pagi-bridge/internal/errorpage"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/internal/spans"
	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// serve has a worker serve a scope.
func (a *app) serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if a.workers == nil {
		return errors.New(a.opt.kind() + ": the workers were not started; the application must be served with a lifespan")
	}
	if scope.Type != pagi.TypeWebSocket {
		var err error
		if receive, err = reply.LimitBody(ctx, scope, receive, a.opt.MaxBodySize, a.opt.Logger); err != nil {
			return err
		}
	}
	if t := scope.Trace(); t != nil {
		return a.serveTraced(ctx, t, scope, receive, send)
	}
	return a.pass(ctx, scope, receive, send, nil)
}

// pass has a worker serve a scope. chosen is that of mux.Workers.ServeBy.
func (a *app) pass(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send, chosen func(worker, pid int)) error {
	if a.opt.PSGI {
		var err error
		if scope, err = environ(scope); err != nil {
			return err
		}
	}
	err := a.workers.ServeBy(ctx, scope, receive, send, chosen)
	if err == nil {
		return nil
	}
	return a.failure(ctx, err, scope, send)
}

// serveTraced is pass for a scope whose trace is recorded: with a span for the wait, and one for the worker's work.
func (a *app) serveTraced(ctx context.Context, t pagi.Trace, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	asked, given := time.Now(), false
	work := t.Start(a.opt.kind(), asked)
	err := a.pass(ctx, scope.Below(work), receive, send, func(worker, pid int) {
		now := time.Now()
		given = true
		spans.Wait(t, asked, now, nil)
		work.Begin(now)
		work.Set(slog.String(spans.Mount, a.opt.Name), slog.Int(spans.Worker, worker), slog.Int(spans.PID, pid))
	})
	if !given {
		spans.Wait(t, asked, time.Now(), err)
		return err
	}
	work.End(time.Now(), err)
	return err
}

// failure returns the error for a scope that has failed in its worker, or answers it.
func (a *app) failure(ctx context.Context, err error, scope *pagi.Scope, send pagi.Send) error {
	var ended *mux.EndError
	switch {
	case errors.Is(err, mux.ErrBusy):
		return a.unavailable(err)
	case errors.Is(err, mux.ErrRetired):
		// The stream ends as one that is complete. Where none was started the server refuses the event.
		if scope.Type == pagi.TypeSSE && send(ctx, pagi.SSEClose{Reason: pagi.ReasonServerShutdown}) == nil {
			return nil
		}
		return a.unavailable(err) // for a WebSocket that is close code 1012
	case errors.As(err, &ended):
		return a.died(ctx, ended, scope, send)
	case errors.Is(err, mux.ErrClosed), errors.Is(err, mux.ErrProtocol), errors.Is(err, mux.ErrBlocked):
		return &pagi.StatusError{Status: 502, Message: "Bad Gateway", Err: fmt.Errorf("%s: %w", a.opt.kind(), err)}
	}
	return err
}

// unavailable returns the error for a scope that no worker could take.
func (a *app) unavailable(err error) error {
	seconds := int(a.workers.RetryAfter().Seconds() + 0.5)
	return &pagi.StatusError{
		Status:  503,
		Message: "Service Unavailable",
		Headers: pagi.NewHeaders("retry-after", strconv.Itoa(max(seconds, 1))),
		Err:     fmt.Errorf("%s: %w", a.opt.kind(), err),
	}
}

// died returns the error for a scope whose application has thrown an exception, or has sent what it must not. In
// development it answers a request with a page.
func (a *app) died(ctx context.Context, ended *mux.EndError, scope *pagi.Scope, send pagi.Send) error {
	failed := &pagi.StatusError{Status: 500, Message: "Internal Server Error", Err: fmt.Errorf("%s: %w", a.opt.kind(), ended)}
	if a.opt.Environment != "development" || scope.Type != pagi.TypeHTTP || scope.Connection != nil && scope.Connection.ResponseStarted() {
		return failed
	}
	page, err := errorpage.Render(errorpage.Failure{Status: 500, Message: ended.Message, Scope: scope})
	if err != nil {
		return errors.Join(failed, err)
	}
	a.opt.Logger.Error(a.opt.kind()+": "+ended.Error(), "mount", a.opt.Name, "request", scope.Method+" "+scope.RootPath+scope.Path)
	headers := pagi.NewHeaders("content-type", errorpage.ContentType, "cache-control", "no-store")
	return reply.Send(ctx, scope, send, 500, headers, page)
}

// Reload replaces the workers by new ones, which load the application again. New scopes go to them at once; the others
// go on for StreamGrace. If the application cannot be loaded, or its startup fails, the old workers go on and the error
// says why. It must not be called before lifespan.startup is complete.
func (a *app) Reload(ctx context.Context) error {
	if a.workers == nil {
		return errors.New(a.opt.kind() + ": the workers were not started")
	}
	return a.workers.Reload(ctx)
}

// Resize changes the number of workers by n. It returns the new number, or 0 if the workers were not started.
func (a *app) Resize(n int) int {
	if a.workers == nil {
		return 0
	}
	return a.workers.Resize(n)
}

// Status returns the state of the workers. Before lifespan.startup is complete there are none.
func (a *app) Status() status.Backend {
	if a.workers == nil {
		return status.Backend{}
	}
	return a.workers.Status()
}
