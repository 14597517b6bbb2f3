// Package site is a site with a router: pages, an API mounted below it, a WebSocket and an event stream. The
// startup makes what they share.
package site

import (
	"context"
	_ "embed"
	"encoding/json"
	"html/template"
	"strconv"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/examples/internal/look"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/endpoint"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/pagi/request"
	"github.com/pagi-go/pagi-bridge/pagi/response"
	"github.com/pagi-go/pagi-bridge/pagi/sse"
	"github.com/pagi-go/pagi-bridge/pagi/websocket"
)

//go:embed page.html
var source string

var page = template.Must(template.New("page").Parse(source))

type config struct {
	AppName, Version string
}

// metrics are counted by all requests. Their state has a pointer to one value.
type metrics struct {
	mu         sync.Mutex
	requests   int
	wsActive   int
	wsMessages int
	sseSeq     int
}

// change changes the numbers and returns a copy of them as JSON has them.
func (m *metrics) change(f func(m *metrics)) map[string]int {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(m)
	return map[string]int{"requests": m.requests, "ws_active": m.wsActive, "ws_messages": m.wsMessages, "sse_seq": m.sseSeq}
}

func metricsOf(r *request.Request) *metrics {
	m, _ := request.State[*metrics](r, "metrics") // the startup has stored it
	return m
}

// New returns the application, which sends metrics every interval.
func New(interval time.Duration) pagi.App {
	r := &endpoint.Router{}
	r.With(counted).Get("/", home)
	r.Get("/index.html", look.Page("<!doctype html><title>File</title><h1>A page that is not counted</h1>"))
	r.Get("/style.css", look.Style)
	r.Mount("/api", newAPI())
	r.WebSocket("/ws/echo", echo)
	r.SSE("/events/metrics", func(stream *sse.Stream) error { return sendMetrics(stream, interval) })

	var hooks lifespan.Hooks
	hooks.Startup = append(hooks.Startup, func(_ context.Context, state map[string]any) error {
		state["config"] = config{"Endpoint Router Demo", "1.0.0"}
		state["metrics"] = &metrics{}
		return nil
	})
	return pagi.Chain(r, hooks)
}

// counted counts a request.
func counted(next endpoint.Func) endpoint.Func {
	return func(c *endpoint.Context) (*response.Response, error) {
		metricsOf(c.Request).change(func(m *metrics) { m.requests++ })
		return next(c)
	}
}

func home(c *endpoint.Context) (*response.Response, error) {
	config, _ := request.State[config](c.Request, "config")
	return response.Render(page, config), nil
}

func echo(conn *websocket.Conn) error {
	if err := conn.Accept(websocket.Accept{}); err != nil {
		return err
	}
	if err := conn.KeepAlive(25*time.Second, 25*time.Second); err != nil {
		return err
	}
	numbers := metricsOf(conn.Request())
	numbers.change(func(m *metrics) { m.requests++; m.wsActive++ })
	conn.OnClose(func(*websocket.CloseError) { numbers.change(func(m *metrics) { m.wsActive-- }) })
	if err := conn.SendJSON(map[string]string{"type": "connected"}); err != nil {
		return err
	}
	return websocket.EachJSON(conn, func(data json.RawMessage) error {
		numbers.change(func(m *metrics) { m.wsMessages++ })
		return conn.SendJSON(map[string]any{"type": "echo", "data": data})
	})
}

func sendMetrics(stream *sse.Stream, interval time.Duration) error {
	numbers := metricsOf(stream.Request())
	now := numbers.change(func(*metrics) {})["sse_seq"]
	greeting := sse.Event{Name: "connected", ID: strconv.Itoa(now), Data: `{"status":"ok","message":"Connected"}`}
	if last, err := strconv.Atoi(stream.LastEventID()); err == nil && last != 0 {
		data, err := json.Marshal(map[string]any{"last_seen_id": last, "current_id": now, "missed": now - last, "message": "Connected again"})
		if err != nil {
			return err
		}
		greeting.Name, greeting.Data = "reconnected", string(data)
	}
	stream.Retry(3 * time.Second)
	if err := stream.Send(greeting); err != nil {
		return err
	}
	return stream.Every(interval, func() error {
		all := numbers.change(func(m *metrics) { m.sseSeq++ })
		data, err := json.Marshal(all)
		if err != nil {
			return err
		}
		return stream.Send(sse.Event{Name: "metrics", ID: strconv.Itoa(all["sse_seq"]), Data: string(data)})
	})
}
