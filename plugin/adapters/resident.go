//go:build unix

package adapters

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/pagi-go/pagi-bridge/bridge/cgi"
	"github.com/pagi-go/pagi-bridge/bridge/mux"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/confine"
	"github.com/pagi-go/pagi-bridge/internal/spans"
	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/plugin/internal/control"
)

// CGI returns the application of a CGI mount whose scripts run in an adapter. o.Redirect and o.Logger count as with
// CGI.Build; o.Files is the adapter's own. name is where it is mounted.
func (a *Adapters) CGI(isolation confine.Isolation, name string, o cgi.CGI, needs confine.Needs) (pagi.App, error) {
	if _, err := o.Build(); err != nil { // what is wrong is known here already
		return nil, err
	}
	site, log := o.Redirect, o.Logger
	o.Redirect, o.Files = nil, nil
	app, err := a.resident(isolation, Mount{Kind: "cgi", Name: name, Options: o, Needs: needs}, site, log)
	if err != nil {
		return nil, err // not a nil *resident in an interface
	}
	return app, nil
}

// resident returns an application that the adapter itself serves, by one connection that carries all scopes.
func (a *Adapters) resident(isolation confine.Isolation, m Mount, site pagi.App, log *slog.Logger) (*resident, error) {
	crew, err := a.Crew(isolation, m)
	if err != nil {
		return nil, err
	}
	app := &resident{kind: m.Kind, name: m.Name, site: site}
	app.workers = mux.NewWorkers(mux.WorkersOptions{
		Name: m.Name, Logger: log, Indirect: true,
		Crew: func(w worker.Options, host worker.Host) worker.Crew {
			app.crew = crew(w, host)
			return app.crew
		},
	})
	return app, nil
}

// resident is a mount that an adapter serves itself: for the gateway it is the only worker.
type resident struct {
	kind    string
	name    string // of the mount
	workers *mux.Workers
	crew    worker.Crew
	site    pagi.App // for local redirects of scripts; nil: none
}

// Status describes what is behind the adapter, as the adapter sees it.
func (r *resident) Status() status.Backend { return r.crew.Status() }

// Serve implements pagi.App.
func (r *resident) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type == pagi.TypeLifespan {
		return lifespan.Serve(ctx, receive, send, r.workers.Start, r.workers.Stop)
	}
	var aside *control.Aside
	var err error
	if t := scope.Trace(); t != nil {
		aside, err = r.serveTraced(ctx, t, scope, receive, send)
	} else {
		aside, err = r.serve(ctx, scope, receive, send, nil)
	}
	switch {
	case errors.Is(err, mux.ErrBusy):
		return &pagi.StatusError{
			Status: 503, Message: "Service Unavailable", Headers: pagi.NewHeaders("retry-after", "1"),
			Err: fmt.Errorf("%s: its adapter is not running", r.kind),
		}
	case errors.Is(err, mux.ErrClosed):
		return &pagi.StatusError{Status: 502, Message: "Bad Gateway", Err: fmt.Errorf("%s: %w", r.kind, err)}
	case err != nil || aside == nil:
		return err
	case aside.Redirect == "":
		return aside.Err()
	case r.site == nil:
		return fmt.Errorf("%s: the adapter asks for a local redirect, and there is no site", r.kind)
	}
	return cgi.FollowRedirect(ctx, r.site, scope, aside.Redirect, receive, send)
}

// serve has the adapter answer. look sees the head of the response first; nil is allowed. The result is an aside
// in place of a response, nil for none.
func (r *resident) serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send, look func(*pagi.HTTPResponseStart) error) (aside *control.Aside, err error) {
	err = r.workers.Serve(ctx, scope, receive, func(ctx context.Context, ev pagi.Event) error {
		if aside != nil {
			return nil // the end of its response
		}
		if start, is := ev.(pagi.HTTPResponseStart); is {
			if look != nil {
				if err := look(&start); err != nil {
					return err
				}
				ev = start
			}
			if aside, err = control.AsideOf(start); aside != nil || err != nil {
				return err
			}
		}
		return send(ctx, ev)
	})
	return aside, err
}

// serveTraced is serve for a request whose trace is recorded: with a span for what the adapter runs, of which the adapter tells
// the process and the wait before it.
func (r *resident) serveTraced(ctx context.Context, t pagi.Trace, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) (*control.Aside, error) {
	span := t.Start(r.kind, time.Now())
	span.Set(slog.String(spans.Mount, r.name))
	aside, err := r.serve(ctx, control.Traced(scope, span), receive, send, func(start *pagi.HTTPResponseStart) error {
		return control.TakeReport(start, t, span)
	})
	failure := err
	if err == nil && aside != nil && aside.Redirect == "" {
		failure = aside.Err()
	}
	span.End(time.Now(), failure)
	return aside, err
}
