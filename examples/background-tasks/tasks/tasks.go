// Package tasks is an application that works on after it has answered.
package tasks

import (
	"context"
	_ "embed"
	"errors"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/examples/internal/look"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/endpoint"
	"github.com/pagi-go/pagi-bridge/pagi/response"
	"github.com/pagi-go/pagi-bridge/pagi/websocket"
)

//go:embed page.html
var page string

// office does what takes longer than a client should wait.
type office struct {
	delay  time.Duration
	report func(format string, args ...any)
}

// New returns the application. Its work takes delay, and report is told when it begins and ends, for example by
// log.Printf. response.Tasks runs the work beside later requests, and waits for it at shutdown.
func New(delay time.Duration, report func(format string, args ...any)) pagi.App {
	o := &office{delay, report}
	r := &endpoint.Router{}
	r.Get("/", look.Page(page))
	r.Get("/style.css", look.Style)
	r.Get("/async", o.async)
	r.Get("/blocking", o.blocking)
	r.Post("/signup", o.signup)
	r.WebSocket("/ws", o.talk)
	return pagi.Chain(r, &response.Tasks{})
}

// wait stands for a call of another service.
func (o *office) wait(ctx context.Context, what string) error {
	o.report("%s: begun", what)
	select {
	case <-time.After(o.delay):
		o.report("%s: done", what)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// compute stands for work of the processor. Go runs it beside other requests; it needs no process of its own.
func (o *office) compute(what string) error {
	o.report("%s: begun", what)
	for end := time.Now().Add(o.delay); time.Now().Before(end); {
	}
	o.report("%s: done", what)
	return nil
}

// answer is what a client is told at once.
func answer(status, message string) *response.Response {
	return response.JSON(map[string]string{"status": status, "message": message})
}

func (o *office) async(*endpoint.Context) (*response.Response, error) {
	return answer("ok", "The mail is sent after this answer.").Background(func(ctx context.Context) error {
		return o.wait(ctx, "mail to user@example.com")
	}), nil
}

func (o *office) blocking(*endpoint.Context) (*response.Response, error) {
	return answer("ok", "Two computations begin after this answer.").Background(func(context.Context) error {
		var both sync.WaitGroup
		var sum, picture error
		both.Go(func() { sum = o.compute("a long sum") })
		both.Go(func() { picture = o.compute("a picture") })
		both.Wait()
		return errors.Join(sum, picture)
	}), nil
}

func (o *office) signup(c *endpoint.Context) (*response.Response, error) {
	form := struct {
		Email string `json:"email"`
	}{"unknown@example.com"}
	if err := c.JSON(&form); err != nil {
		return nil, err
	}
	return answer("created", "The account exists. A mail to "+form.Email+" is on its way.").Status(201).Background(func(ctx context.Context) error {
		return o.wait(ctx, "mail to "+form.Email)
	}), nil
}

// talk answers each message at once and works on it beside the next one.
func (o *office) talk(conn *websocket.Conn) error {
	if err := conn.Accept(websocket.Accept{}); err != nil {
		return err
	}
	if err := conn.SendText("Connected! Send a message."); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(conn.Context())
	var working sync.WaitGroup
	defer working.Wait()
	defer stop()
	return conn.EachText(func(text string) error {
		if err := conn.SendText("Got: " + text); err != nil {
			return err
		}
		working.Go(func() {
			if err := o.wait(ctx, "note of a message"); err != nil {
				o.report("note of a message: %v", err)
			}
		})
		return nil
	})
}
