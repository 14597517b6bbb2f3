// Command 21-toolkit is a page of Go for each thing that a site needs: a form, an upload, a stream
// and a chat. Start it by "go run ./examples/21-toolkit" and open http://127.0.0.1:5000/.
package main

import (
	"context"
	_ "embed"
	"fmt"
	"log"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/endpoint"
	"github.com/pagi-go/pagi-bridge/pagi/response"
	"github.com/pagi-go/pagi-bridge/pagi/session"
	"github.com/pagi-go/pagi-bridge/pagi/sse"
	"github.com/pagi-go/pagi-bridge/pagi/websocket"
	"github.com/pagi-go/pagi-bridge/server"
)

//go:embed page.html
var page string

// home shows the page.
func home(c *endpoint.Context) (*response.Response, error) {
	if c.Path() != "/" {
		return nil, &pagi.StatusError{Status: 404, Message: "There is no such page."}
	}
	return response.HTML(page), nil
}

// contact reads a form. Wrong fields are answered with 422 and a list of them.
func contact(c *endpoint.Context) (*response.Response, error) {
	var form struct {
		Name    string `form:"name,required"`
		Message string `form:"message,required"`
	}
	if err := c.DecodeForm(&form); err != nil {
		return nil, err
	}
	visit, err := c.Session()
	if err != nil {
		return nil, err
	}
	sent, err := session.ValueOr(visit, "sent", 0)
	if err != nil {
		return nil, err
	}
	if err := visit.Set("sent", sent+1); err != nil {
		return nil, err
	}
	thanks := fmt.Sprintf("Thank you, %s. This was message %d of yours.", form.Name, sent+1)
	return response.Text(thanks).Background(func(context.Context) error {
		log.Printf("mail to the shop: %q", form.Message)
		return nil
	}), nil
}

// upload counts the lines of a file, however large it is, in little memory.
func upload(c *endpoint.Context) (*response.Response, error) {
	parts, err := c.MultipartStream()
	if err != nil {
		return nil, err
	}
	part, err := parts.Next()
	if err != nil {
		return nil, err
	}
	var lines lineCounter
	if _, err := part.WriteTo(&lines); err != nil {
		return nil, err
	}
	return response.JSON(map[string]any{"file": part.Filename, "lines": lines}), nil
}

type lineCounter int

func (n *lineCounter) Write(p []byte) (int, error) {
	for _, c := range p {
		if c == '\n' {
			*n++
		}
	}
	return len(p), nil
}

// clock sends the time every second until the browser leaves.
func clock(stream *sse.Stream) error {
	return stream.Every(time.Second, func() error {
		return stream.Send(sse.Event{Name: "time", Data: time.Now().Format(time.TimeOnly)})
	})
}

// chat is a room. A listener that is too slow misses messages; it does not hold up the others.
type chat struct {
	mu     sync.Mutex
	inside map[*websocket.Conn]bool
}

func (room *chat) visit(conn *websocket.Conn) error {
	name := conn.Request().Query().Get("name")
	if name == "" {
		return conn.Deny(response.Text("Who are you?").Status(400))
	}
	if err := conn.Accept(websocket.Accept{}); err != nil {
		return err
	}
	room.enter(conn)
	conn.OnClose(func(*websocket.CloseError) {
		room.leave(conn)
		room.say(name + " has left")
	})
	room.say(name + " is here")
	return conn.EachText(func(text string) error {
		room.say(name + ": " + text)
		return nil
	})
}

func (room *chat) enter(conn *websocket.Conn) {
	room.mu.Lock()
	defer room.mu.Unlock()
	room.inside[conn] = true
}

func (room *chat) leave(conn *websocket.Conn) {
	room.mu.Lock()
	defer room.mu.Unlock()
	delete(room.inside, conn)
}

func (room *chat) say(text string) {
	room.mu.Lock()
	defer room.mu.Unlock()
	for conn := range room.inside {
		conn.TrySendText(text)
	}
}

// site is everything that is served.
func site() pagi.App {
	room := &chat{inside: map[*websocket.Conn]bool{}}
	pages := &apps.URLMap{Mounts: []apps.Mount{
		{Path: "/", App: endpoint.Func(home)},
		{Path: "/contact", App: endpoint.Func(contact)},
		{Path: "/upload", App: endpoint.Func(upload)},
		{Path: "/clock", App: endpoint.SSEFunc(clock)},
		{Path: "/chat", App: endpoint.WebSocketFunc(room.visit)},
	}}
	return pagi.Chain(pages, &response.Tasks{}, &session.Manager{})
}

func main() {
	if err := server.Serve(site()); err != nil {
		log.Fatal(err)
	}
}
