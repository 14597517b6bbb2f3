// Command 22-router is a list of tasks that several browsers share. It shows a router of functions, a
// resource with a function for each method, and an event stream with hooks. Start it by
// "go run ./examples/22-router" and open http://127.0.0.1:5000/ in two windows.
package main

import (
	"cmp"
	_ "embed"
	"log"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/endpoint"
	"github.com/pagi-go/pagi-bridge/pagi/response"
	"github.com/pagi-go/pagi-bridge/pagi/sse"
	"github.com/pagi-go/pagi-bridge/server"
)

//go:embed page.html
var page string

// task is one thing to do.
type task struct {
	ID   int    `json:"id"`
	Text string `json:"text"`
	Done bool   `json:"done"`
}

// list has the tasks, and the streams of the browsers that look at them.
type list struct {
	router *endpoint.Router

	mu      sync.Mutex
	next    int
	tasks   map[int]task
	viewers map[*sse.Stream]bool
}

// newList returns an empty list with its routes.
func newList() *list {
	r := &endpoint.Router{}
	l := &list{router: r, tasks: map[int]task{}, viewers: map[*sse.Stream]bool{}}
	r.Get("/", home)
	r.Get("/tasks", l.all)
	r.With(samePage).Post("/tasks", endpoint.JSON(l.add))
	r.Endpoint("/tasks/{id:[0-9]+}", endpoint.HTTP{Get: l.show, Put: samePage(endpoint.JSON(l.change)), Delete: samePage(l.remove)}).Name("task")
	r.Endpoint("/changes", endpoint.SSE{Connect: l.enter, Disconnect: l.leave})
	return l
}

func home(*endpoint.Context) (*response.Response, error) { return response.HTML(page), nil }

// samePage refuses requests that a page of another site has made.
func samePage(next endpoint.Func) endpoint.Func {
	return func(c *endpoint.Context) (*response.Response, error) {
		switch c.Header("sec-fetch-site") {
		case "", "same-origin", "none":
			return next(c)
		}
		return response.Problem{Status: 403, Detail: "this is for the page of the list only"}.Response(), nil
	}
}

func (l *list) all(*endpoint.Context) (*response.Response, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := slices.AppendSeq([]task{}, maps.Values(l.tasks))
	slices.SortFunc(all, func(a, b task) int { return cmp.Compare(a.ID, b.ID) })
	return response.JSON(all), nil
}

func (l *list) add(_ *endpoint.Context, t task) (*response.Response, error) {
	if t.Text == "" {
		return response.Problem{Status: 422, Detail: "a task needs a text"}.Response(), nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	t.ID = l.next
	l.tasks[t.ID] = t
	l.tell()
	location, err := l.router.URL("task", "id", strconv.Itoa(t.ID))
	return response.JSON(t).Status(201).Header("location", location), err
}

// find returns the task that a request names. The caller holds mu.
func (l *list) find(c *endpoint.Context) (task, error) {
	id, err := strconv.Atoi(c.Param("id"))
	t, ok := l.tasks[id]
	if err != nil || !ok {
		return t, &pagi.StatusError{Status: 404, Message: "There is no such task."}
	}
	return t, nil
}

func (l *list) show(c *endpoint.Context) (*response.Response, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, err := l.find(c)
	return response.JSON(t), err
}

func (l *list) change(c *endpoint.Context, now task) (task, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, err := l.find(c)
	if err != nil {
		return t, err
	}
	now.ID, now.Text = t.ID, cmp.Or(now.Text, t.Text)
	l.tasks[t.ID] = now
	l.tell()
	return now, nil
}

func (l *list) remove(c *endpoint.Context) (*response.Response, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t, err := l.find(c)
	if err != nil {
		return nil, err
	}
	delete(l.tasks, t.ID)
	l.tell()
	return response.Empty(), nil
}

// enter adds a browser. Its stream begins before that: while it begins, tell could not send to it.
func (l *list) enter(stream *sse.Stream) error {
	if err := stream.KeepAlive(30*time.Second, ""); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.viewers[stream] = true
	return nil
}

func (l *list) leave(stream *sse.Stream, _ string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.viewers, stream)
}

// tell says to all browsers that there is news. One that is too slow misses it, and sees it with the
// next. The caller holds mu.
func (l *list) tell() {
	for stream := range l.viewers {
		stream.TrySend(sse.Event{Name: "change", Data: strconv.Itoa(len(l.tasks))})
	}
}

func main() {
	if err := server.Serve(newList().router); err != nil {
		log.Fatal(err)
	}
}
