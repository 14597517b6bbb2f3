package main

import (
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest/socket"
)

func TestMain(m *testing.M) { socket.Main(m) }

// linted makes each violation of the specification a failure.
func linted(app pagi.App) pagi.App { return middleware.Lint{Strict: true}.Wrap(app) }

func TestTasks(t *testing.T) {
	app := newList().router
	if err := pagi.Check(app); err != nil {
		t.Fatal(err)
	}
	c := pagitest.Start(t, linted(app))
	c.Get("/").Expect(t, 200, "<h1>Tasks</h1>")
	if res := c.Post("/tasks", pagitest.JSON(task{Text: "tea"})).Expect(t, 201, `{"id":1,"text":"tea","done":false}`); res.Header("location") != "/tasks/1" {
		t.Errorf("location %q", res.Header("location"))
	}
	c.Post("/tasks", pagitest.JSON(task{Text: "cake"})).Expect(t, 201, `"id":2`)
	c.Post("/tasks", pagitest.JSON(task{})).Expect(t, 422, "a task needs a text")
	c.Put("/tasks/1", pagitest.JSON(map[string]bool{"done": true})).Expect(t, 200, `{"id":1,"text":"tea","done":true}`)
	c.Get("/tasks/1").Expect(t, 200, `"done":true`)
	c.Get("/tasks").Expect(t, 200, `[{"id":1,"text":"tea","done":true},{"id":2,"text":"cake","done":false}]`)
	c.Delete("/tasks/2", pagitest.Header("sec-fetch-site", "cross-site")).Expect(t, 403, "page of the list only")
	c.Delete("/tasks/2").Expect(t, 204)
	c.Get("/tasks").Expect(t, 200, `[{"id":1,"text":"tea","done":true}]`)
	c.Get("/tasks/x").Expect(t, 404)
	for status, res := range map[int]*pagitest.Response{404: c.Get("/tasks/2"), 400: c.Post("/tasks", pagitest.Body("{"), pagitest.Header("content-type", "application/json"))} {
		if res.Status != status || res.Err == nil {
			t.Errorf("got %d, want %d, %v", res.Status, status, res.Err)
		}
	}
	if res := c.Patch("/tasks/1"); res.Status != 405 || res.Header("allow") != "DELETE, GET, HEAD, OPTIONS, PUT" {
		t.Errorf("%d %q", res.Status, res.Header("allow"))
	}
}

func TestChangesAreTold(t *testing.T) {
	l := newList()
	viewers := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.viewers)
	}
	stream := pagitest.New(linted(l.router)).Events("/changes")
	events := make(chan pagitest.ServerEvent, 1)
	go func() {
		event, _ := stream.Next()
		events <- event
	}()
	testkit.Eventually(t, "the browser is known", func() bool { return viewers() == 1 })
	pagitest.New(linted(l.router)).Post("/tasks", pagitest.JSON(task{Text: "tea"})).Expect(t, 201)
	if event := testkit.Await(t, events); event.Event != "change" || event.Data != "1" {
		t.Errorf("%+v", event)
	}
	stream.Disconnect(pagi.ReasonClientClosed)
	if res := stream.Finish(); res.Err != nil || viewers() != 0 {
		t.Error(viewers(), res.Err)
	}
}
