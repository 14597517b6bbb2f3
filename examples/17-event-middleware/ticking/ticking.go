// Package ticking is a middleware that adds events to those of the protocol, and an application that waits for
// both with the one receive that it has.
package ticking

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Tick is the middleware's event.
type Tick struct{ Count int }

// EventType implements pagi.Event.
func (Tick) EventType() string { return "tick" }

// New returns the application with the middleware around it.
func New(interval time.Duration) pagi.App {
	return pagi.Chain(pagi.AppFunc(follow), Ticks{interval})
}

// Ticks is the middleware. Each http scope below it receives a Tick every Interval.
type Ticks struct{ Interval time.Duration }

// Wrap implements pagi.Middleware.
func (m Ticks) Wrap(next pagi.App) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Type != pagi.TypeHTTP {
			return next.Serve(ctx, scope, receive, send)
		}
		ctx, cancel := context.WithCancel(ctx)
		ticker := time.NewTicker(m.Interval)
		merged := &merger{receive: receive, ticks: ticker.C}
		defer merged.running.Wait()
		defer cancel()
		defer ticker.Stop()
		return next.Serve(ctx, scope, merged.next, send)
	})
}

// merger joins two sources. At most one receive of the protocol runs: the one that a tick has overtaken goes on,
// and the next call waits for it.
type merger struct {
	receive pagi.Receive
	ticks   <-chan time.Time
	count   int

	running sync.WaitGroup
	pending chan received // of the receive that runs, or nil
}

type received struct {
	event pagi.Event
	err   error
}

// next is the Receive of the application.
func (m *merger) next(ctx context.Context) (pagi.Event, error) {
	if m.pending == nil {
		pending := make(chan received, 1)
		m.pending = pending
		m.running.Go(func() {
			event, err := m.receive(ctx)
			pending <- received{event, err}
		})
	}
	select {
	case r := <-m.pending:
		m.pending = nil
		return r.event, r.err
	case <-m.ticks:
		m.count++
		return Tick{m.count}, nil
	}
}

// follow sends a line for each tick until the client leaves.
func follow(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type != pagi.TypeHTTP {
		return pagi.Unsupported(scope)
	}
	if err := send(ctx, pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-type", "application/x-ndjson")}); err != nil {
		return err
	}
	for {
		event, err := receive(ctx)
		if err != nil {
			return err
		}
		switch event := event.(type) {
		case Tick:
			line := fmt.Appendf(nil, "{\"tick\":%d}\n", event.Count)
			if err := send(ctx, pagi.HTTPResponseBody{Body: line, More: true}); err != nil {
				return err
			}
		case pagi.HTTPDisconnect:
			return nil
		}
	}
}
