// Package dashboard sends the same numbers to all subscribers of a channel. The numbers are made up.
package dashboard

import (
	"context"
	_ "embed"
	"encoding/json"
	"log"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/examples/internal/look"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/endpoint"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/pagi/sse"
)

//go:embed page.html
var page string

// desk sends numbers while there are subscribers.
type desk struct {
	interval time.Duration

	mu      sync.Mutex
	streams map[*sse.Stream]bool
	joined  int
	events  int
	stop    func() // ends the sending; nil while there are no subscribers
	sending sync.WaitGroup
}

// New returns the application, which sends numbers every interval.
func New(interval time.Duration) pagi.App {
	d := &desk{interval: interval, streams: map[*sse.Stream]bool{}}
	r := &endpoint.Router{}
	r.Get("/", look.Page(page))
	r.Get("/style.css", look.Style)
	r.Endpoint("/events", endpoint.SSE{Connect: d.join, Disconnect: d.leave, KeepAlive: 25 * time.Second})
	var hooks lifespan.Hooks
	hooks.Shutdown = append(hooks.Shutdown, func(context.Context, map[string]any) error {
		d.sending.Wait()
		return nil
	})
	return pagi.Chain(r, hooks)
}

func (d *desk) join(stream *sse.Stream) error {
	d.mu.Lock()
	d.joined++
	id := d.joined
	d.mu.Unlock()
	if err := stream.SendJSON("connected", map[string]any{"subscriber_id": id, "server_time": time.Now().Unix()}); err != nil {
		return err
	}
	if last := stream.LastEventID(); last != "" {
		if err := stream.SendJSON("reconnected", map[string]string{"last_id": last}); err != nil {
			return err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.streams[stream] = true
	if d.stop == nil { // the first one
		d.start()
	}
	return nil
}

func (d *desk) leave(stream *sse.Stream, reason string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	log.Printf("a subscriber has left: %s", reason)
	delete(d.streams, stream)
	if len(d.streams) == 0 {
		d.stop()
		d.stop = nil
	}
}

// start begins to send. The caller holds mu.
func (d *desk) start() {
	ctx, stop := context.WithCancel(context.Background())
	d.stop = stop
	d.sending.Go(func() { // leave ends it with the last subscriber
		ticker := time.NewTicker(d.interval)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				d.send(ctx)
			case <-ctx.Done():
				return
			}
		}
	})
}

func (d *desk) send(ctx context.Context) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if ctx.Err() != nil { // the last subscriber left while this one waited
		return
	}
	d.events++
	data, err := json.Marshal(map[string]any{
		"cpu": 20 + rand.IntN(60), "memory": 40 + rand.IntN(40), "requests": rand.IntN(1000), "timestamp": time.Now().Unix(),
	})
	if err != nil {
		log.Print(err)
		return
	}
	for stream := range d.streams {
		stream.TrySend(sse.Event{Name: "metrics", Data: string(data), ID: strconv.Itoa(d.events)})
	}
}
