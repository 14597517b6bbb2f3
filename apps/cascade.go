package apps

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
)

// Cascade tries applications in order until one answers with a status that is not caught. The
// answer of the last application stands, whatever its status. A Cascade drops a caught answer, and
// passes any other on as it comes.
//
// An application may read some of the request body before its answer is caught. The Cascade keeps
// that part, on disk when it is large, and gives it to the next application as well.
type Cascade struct {
	Apps []pagi.App `yaml:"-"`
	// Catch are the statuses that make it try the next application; nil means 404
	// and 405.
	Catch []int `yaml:"catch"`
}

func init() { parts.App[Cascade]("cascade", "") }

// Check reports a status that is out of range, and what the applications report.
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
		return lifespan.FanOut(ctx, scope, receive, send, c.children())
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
		err := app.Serve(ctx, scope, r.again(), a.event)
		if declines(scope, err) {
			plain, receive, send := ordinary(scope, r.again(), a.event)
			err = app.Serve(ctx, plain, receive, send)
		}
		if err != nil || !a.caught {
			return err
		}
	}
	err = c.Apps[last].Serve(ctx, scope, r.again(), send)
	if declines(scope, err) { // else the server would make an http scope and begin with the first application again
		plain, receive, send := ordinary(scope, r.again(), send)
		err = c.Apps[last].Serve(ctx, plain, receive, send)
	}
	return err
}

func (c *Cascade) catches(status int) bool {
	if c.Catch == nil {
		return status == http.StatusNotFound || status == http.StatusMethodNotAllowed
	}
	return slices.Contains(c.Catch, status)
}

func (c *Cascade) children() []lifespan.Child {
	all := make([]lifespan.Child, len(c.Apps))
	for i, app := range c.Apps {
		all[i] = lifespan.Child{Name: fmt.Sprintf("cascade[%d]", i), App: app}
	}
	return distinct(all)
}

// attempt is the answer of one application. It is dropped once its status is caught.
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
