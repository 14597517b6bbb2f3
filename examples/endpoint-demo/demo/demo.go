// Package demo has one endpoint of each kind, with middleware around them.
package demo

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"log"
	"slices"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/examples/internal/look"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/endpoint"
	"github.com/pagi-go/pagi-bridge/pagi/response"
	"github.com/pagi-go/pagi-bridge/pagi/sse"
	"github.com/pagi-go/pagi-bridge/pagi/websocket"
)

//go:embed page.html
var page string

type message struct {
	ID   int    `json:"id"`
	Text string `json:"text"`
}

// board has the messages, and the streams of those who are told of new ones.
type board struct {
	mu       sync.Mutex
	messages []message
	streams  map[*sse.Stream]int
	joined   int
}

// New returns the application.
func New() pagi.App {
	b := &board{
		messages: []message{{1, "The first message"}, {2, "The second message"}},
		streams:  map[*sse.Stream]int{},
	}
	r := &endpoint.Router{}
	r.Get("/", look.Page(page))
	r.Get("/style.css", look.Style)
	r.Endpoint("/api/messages", endpoint.HTTP{Get: b.list, Post: jsonOnly(b.add)}, pagi.MiddlewareFunc(timed))
	r.Endpoint("/ws/echo", endpoint.WebSocket[json.RawMessage]{Connect: welcome, Receive: echo, Disconnect: goodbye, KeepAlive: 25 * time.Second}, pagi.MiddlewareFunc(timed))
	r.Endpoint("/events", endpoint.SSE{Connect: b.join, Disconnect: b.leave, KeepAlive: 25 * time.Second}, pagi.MiddlewareFunc(timed))
	return r
}

// timed logs how long each request, WebSocket or stream has taken. It is a middleware of all scopes.
func timed(next pagi.App) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Type == pagi.TypeLifespan {
			return next.Serve(ctx, scope, receive, send)
		}
		began := time.Now()
		err := next.Serve(ctx, scope, receive, send)
		log.Printf("%s %s: %s", cmp.Or(scope.Method, scope.Type), scope.Path, time.Since(began))
		return err
	})
}

// jsonOnly refuses other bodies. It is a middleware of functions.
func jsonOnly(next endpoint.Func) endpoint.Func {
	return func(c *endpoint.Context) (*response.Response, error) {
		if !c.IsJSON() {
			return response.JSON(map[string]string{"error": "The body must be JSON."}).Status(415), nil
		}
		return next(c)
	}
}

func (b *board) list(*endpoint.Context) (*response.Response, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return response.JSON(slices.Clone(b.messages)), nil
}

func (b *board) add(c *endpoint.Context) (*response.Response, error) {
	var m message
	if err := c.JSON(&m); err != nil {
		return nil, err
	}
	text, err := b.keep(&m)
	if err != nil {
		return nil, err
	}
	return response.Bytes("application/json", text).Status(201), nil
}

// keep stores a message, and tells the streams that are not behind.
func (b *board) keep(m *message) ([]byte, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	m.ID = len(b.messages) + 1
	b.messages = append(b.messages, *m)
	text, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	for stream := range b.streams {
		stream.TrySend(sse.Event{Data: string(text)})
	}
	return text, nil
}

// join begins the stream before others send to it.
func (b *board) join(stream *sse.Stream) error {
	b.mu.Lock()
	b.joined++
	id := b.joined
	b.mu.Unlock()
	if err := stream.SendJSON("connected", map[string]int{"subscriber_id": id}); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.streams[stream] = id
	return nil
}

func (b *board) leave(stream *sse.Stream, reason string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	log.Printf("subscriber %d has left: %s", b.streams[stream], reason)
	delete(b.streams, stream)
}

func welcome(conn *websocket.Conn) error {
	if err := conn.Accept(websocket.Accept{}); err != nil {
		return err
	}
	return conn.SendJSON(map[string]string{"type": "connected", "message": "Welcome!"})
}

func echo(conn *websocket.Conn, original json.RawMessage) error {
	return conn.SendJSON(map[string]any{"type": "echo", "original": original, "timestamp": float64(time.Now().UnixMicro()) / 1e6})
}

func goodbye(_ *websocket.Conn, end *websocket.CloseError) {
	log.Printf("a WebSocket has ended: %d", end.Code)
}
