package apps

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// Cascade tries applications in order until one answers with a status that is not
// caught; the last one's answer stands whatever it is. A caught answer is dropped,
// one that is not caught is passed on as it comes. What an application has read of
// the request body before its answer was caught is kept, on disk when it is large,
// and given to the next one too.
type Cascade struct {
	Apps []pagi.App `yaml:"-"`
	// Catch are the statuses that make it try the next application; nil means 404
	// and 405.
	Catch []int `yaml:"catch"`
}

// Check reports a status that cannot be and what the applications report.
func (c *Cascade) Check() error {
	var errs []error
	for _, status := range c.Catch {
		if status < 200 || status > 999 {
			errs = append(errs, pagi.BadOption("catch", "must hold statuses of 200 to 999, has %d", status))
		}
	}
	for i, app := range c.Apps {
		if err := pagi.Check(app); err != nil {
			errs = append(errs, fmt.Errorf("cascade[%d]: %w", i, err))
		}
	}
	return errors.Join(errs...)
}

// Serve passes the scope to the applications; without any it answers 404.
func (c *Cascade) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) (err error) {
	if scope.Type == pagi.TypeLifespan {
		return pagi.FanOutLifespan(ctx, scope, receive, send, c.children())
	}
	if len(c.Apps) == 0 {
		return reply.Status(ctx, scope, send, http.StatusNotFound)
	}
	last := len(c.Apps) - 1
	if last == 0 {
		return c.Apps[0].Serve(ctx, scope, receive, send)
	}
	r := &recorder{receive: receive}
	defer func() { err = errors.Join(err, r.close()) }()
	for _, app := range c.Apps[:last] {
		a := attempt{send: send, catch: c.catches}
		if err := app.Serve(ctx, scope, r.again(), a.event); err != nil || !a.caught {
			return err
		}
	}
	return c.Apps[last].Serve(ctx, scope, r.again(), send)
}

func (c *Cascade) catches(status int) bool {
	if c.Catch == nil {
		return status == http.StatusNotFound || status == http.StatusMethodNotAllowed
	}
	return slices.Contains(c.Catch, status)
}

func (c *Cascade) children() []pagi.LifespanChild {
	all := make([]pagi.LifespanChild, len(c.Apps))
	for i, app := range c.Apps {
		all[i] = pagi.LifespanChild{Name: fmt.Sprintf("cascade[%d]", i), App: app}
	}
	return distinct(all)
}

// attempt is one application's answer: dropped once its status was caught.
type attempt struct {
	send   pagi.Send
	catch  func(status int) bool
	caught bool
}

func (a *attempt) event(ctx context.Context, ev pagi.Event) error {
	status := 0
	switch e := ev.(type) {
	case pagi.HTTPResponseStart:
		status = e.Status
	case pagi.SSEHTTPResponseStart:
		status = e.Status
	case pagi.WebSocketHTTPResponseStart:
		status = e.Status
	}
	if status != 0 && a.catch(status) {
		a.caught = true
	}
	if a.caught {
		return nil
	}
	return a.send(ctx, ev)
}
