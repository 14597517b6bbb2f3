package control

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// asideHeader is the response header of an aside. It never reaches a client.
const asideHeader = "pagi-bridge-aside"

// Aside is what an application that runs in an adapter has for the gateway, in place of a response: a local redirect, or an
// error with a status, for which the gateway has the error pages.
type Aside struct {
	// Redirect is the target of a local redirect: a path with its query, from the root of the site.
	Redirect string `json:"redirect,omitzero"`
	// Status, Message, Headers and Error are those of a pagi.StatusError.
	Status  int         `json:"status,omitzero"`
	Message string      `json:"message,omitzero"`
	Headers [][2]string `json:"headers,omitzero"`
	Error   string      `json:"error,omitzero"`
}

// maxAside is how many bytes of the text of an error go into an aside.
const maxAside = 4 << 10

// Asides are the adapter's half. They carry an aside in the header of a response. The application's own responses lose that
// header, so only the adapter can make one.
type Asides struct{ secret string }

// NewAsides returns Asides for one application.
func NewAsides() *Asides { return &Asides{secret: rand.Text() + " "} }

func (a *Asides) send(ctx context.Context, send pagi.Send, aside Aside) error {
	text, err := json.Marshal(aside)
	if err != nil {
		return err
	}
	if err := send(ctx, pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders(asideHeader, a.secret+string(text))}); err != nil {
		return err
	}
	return send(ctx, pagi.HTTPResponseBody{})
}

// Redirects returns an application that stands for the whole site: it has the gateway answer.
func (a *Asides) Redirects() pagi.App {
	return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		return a.send(ctx, send, Aside{Redirect: scope.RequestURI()})
	})
}

// Guard returns app, whose asides reach the gateway, and whose responses cannot be taken for one.
func (a *Asides) Guard(app pagi.App) pagi.App { return guarded{app, a} }

// guarded has the methods of its application.
type guarded struct {
	app    pagi.App
	asides *Asides
}

// Serve implements pagi.App.
func (g guarded) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type == pagi.TypeLifespan {
		return g.app.Serve(ctx, scope, receive, send)
	}
	scope, report := followed(scope)
	started := false
	err := g.app.Serve(ctx, scope, receive, func(ctx context.Context, ev pagi.Event) error {
		if start, is := ev.(pagi.HTTPResponseStart); is {
			started = true
			if start.Headers.Has(asideHeader) {
				start = g.asides.open(start)
			}
			ev = report.into(start)
		}
		return send(ctx, ev)
	})
	var failed *pagi.StatusError
	if started || !errors.As(err, &failed) {
		return err
	}
	send = report.sender(send)
	aside := Aside{Status: failed.Status, Message: failed.Message, Error: clip(err.Error(), maxAside)}
	for _, h := range failed.Headers {
		aside.Headers = append(aside.Headers, [2]string{h.Name, h.Value})
	}
	return (&Asides{}).send(ctx, send, aside) // past the guard, so without the secret
}

// open takes the secret from an aside, and the header from anything else.
func (a *Asides) open(start pagi.HTTPResponseStart) pagi.HTTPResponseStart {
	text, is := strings.CutPrefix(start.Headers.Get(asideHeader), a.secret)
	start.Headers = start.Headers.Clone()
	start.Headers.Del(asideHeader)
	if is {
		start.Headers.Add(asideHeader, text)
	}
	return start
}

// AsideOf returns the aside of a response that an adapter has sent, nil for none.
func AsideOf(start pagi.HTTPResponseStart) (*Aside, error) {
	text := start.Headers.Get(asideHeader)
	if text == "" {
		return nil, nil
	}
	var a Aside
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		return nil, fmt.Errorf("an aside of the adapter: %w", err)
	}
	if a.Redirect == "" && (a.Status < 400 || a.Status > 599) {
		return nil, fmt.Errorf("an aside of the adapter has the status %d", a.Status)
	}
	return &a, nil
}

// Err returns the error of an aside that is no redirect.
func (a *Aside) Err() error {
	var headers pagi.Headers
	for _, h := range a.Headers {
		headers.Add(h[0], h[1])
	}
	return &pagi.StatusError{Status: a.Status, Message: a.Message, Headers: headers, Err: errors.New(a.Error)}
}
