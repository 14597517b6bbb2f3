// Package periodic is an application with two sources of events that run as long as the process. The lifespan
// owns their goroutine: its startup starts it, its shutdown ends it and waits.
package periodic

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/endpoint"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/pagi/response"
)

// hub passes ticks to the requests that wait for one.
type hub struct {
	mu    sync.Mutex
	count int
	beats int
	next  chan struct{} // closed at the next tick
}

// New returns the application, which ticks every tick and beats every beat.
func New(tick, beat time.Duration) pagi.App {
	h := &hub{next: make(chan struct{})}
	r := &endpoint.Router{NotFound: endpoint.Func(h.now)} // at all other paths
	r.Any("/next", h.waitForNext)
	r.Any("/stream", h.stream)

	stop := func() {}
	var source sync.WaitGroup
	var hooks lifespan.Hooks
	hooks.Startup = append(hooks.Startup, func(context.Context, map[string]any) error {
		ctx, cancel := context.WithCancel(context.Background()) // not that of the startup, which ends first
		stop = cancel
		source.Go(func() { h.run(ctx, tick, beat) })
		return nil
	})
	hooks.Shutdown = append(hooks.Shutdown, func(context.Context, map[string]any) error {
		stop()
		source.Wait()
		return nil
	})
	return pagi.Chain(r, hooks)
}

func (h *hub) run(ctx context.Context, tick, beat time.Duration) {
	ticks, beats := time.NewTicker(tick), time.NewTicker(beat)
	defer ticks.Stop()
	defer beats.Stop()
	for {
		select {
		case <-ticks.C:
			h.mu.Lock()
			h.count++
			close(h.next)
			h.next = make(chan struct{})
			h.mu.Unlock()
		case <-beats.C:
			h.mu.Lock()
			h.beats++
			h.mu.Unlock()
		case <-ctx.Done():
			return
		}
	}
}

// wait returns the number of the next tick.
func (h *hub) wait(ctx context.Context) (int, error) {
	h.mu.Lock()
	next := h.next
	h.mu.Unlock()
	select {
	case <-next:
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.count, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

func (h *hub) now(*endpoint.Context) (*response.Response, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return response.JSON(map[string]any{"count": h.count, "beats": h.beats, "hint": "/next waits for the next tick"}), nil
}

func (h *hub) waitForNext(c *endpoint.Context) (*response.Response, error) {
	tick, err := h.wait(c.Context())
	return response.JSON(map[string]int{"tick": tick}), err
}

func (h *hub) stream(c *endpoint.Context) (*response.Response, error) {
	return response.Stream("application/x-ndjson", func(w *response.Writer) error {
		for {
			tick, err := h.wait(w.Context())
			if err != nil {
				return err
			}
			fmt.Fprintf(w, "{\"tick\":%d}\n", tick)
			if err := w.Flush(); err != nil {
				return err
			}
		}
	}), nil
}
