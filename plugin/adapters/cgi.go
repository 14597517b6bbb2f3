//go:build unix

package adapters

import (
	"context"
	"errors"

	"github.com/pagi-go/pagi-bridge/bridge/cgi"
	"github.com/pagi-go/pagi-bridge/bridge/mux"
	"github.com/pagi-go/pagi-bridge/bridge/worker"
	"github.com/pagi-go/pagi-bridge/internal/confine"
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
	site := o.Redirect
	o.Redirect, o.Files = nil, nil
	crew, err := a.Crew(isolation, Mount{Kind: "cgi", Name: name, Options: o, Needs: needs})
	if err != nil {
		return nil, err
	}
	app := &cgiApp{site: site}
	app.workers = mux.NewWorkers(mux.WorkersOptions{
		Name: name, Logger: o.Logger,
		Crew: func(w worker.Options, host worker.Host) worker.Crew {
			app.crew = crew(w, host)
			return app.crew
		},
	})
	return app, nil
}

// cgiApp is a CGI mount at an adapter. The adapter is its only worker.
type cgiApp struct {
	workers *mux.Workers
	crew    worker.Crew
	site    pagi.App // for local redirects; nil: none
}

// Status describes the scripts, as the adapter sees them.
func (a *cgiApp) Status() status.Backend { return a.crew.Status() }

// Serve implements pagi.App.
func (a *cgiApp) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type == pagi.TypeLifespan {
		return lifespan.Serve(ctx, receive, send, a.workers.Start, a.workers.Stop)
	}
	aside, err := a.serve(ctx, scope, receive, send)
	switch {
	case errors.Is(err, mux.ErrBusy):
		return &pagi.StatusError{
			Status: 503, Message: "Service Unavailable", Headers: pagi.NewHeaders("retry-after", "1"),
			Err: errors.New("cgi: the adapter that runs the scripts is not running"),
		}
	case errors.Is(err, mux.ErrClosed):
		return &pagi.StatusError{Status: 502, Message: "Bad Gateway", Err: err}
	case err != nil || aside == nil:
		return err
	case aside.Redirect == "":
		return aside.Err()
	case a.site == nil:
		return errors.New("cgi: the adapter asks for a local redirect, and there is no site")
	}
	return cgi.FollowRedirect(ctx, a.site, scope, aside.Redirect, receive, send)
}

// serve has the adapter answer. The result is an aside in place of a response, nil for none.
func (a *cgiApp) serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) (aside *control.Aside, err error) {
	err = a.workers.Serve(ctx, scope, receive, func(ctx context.Context, ev pagi.Event) error {
		if aside != nil {
			return nil // the end of its response
		}
		if start, is := ev.(pagi.HTTPResponseStart); is {
			if aside, err = control.AsideOf(start); aside != nil || err != nil {
				return err
			}
		}
		return send(ctx, ev)
	})
	return aside, err
}
