package server

import (
	"fmt"
	"sync"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// seen is an observer that keeps a line of each record.
type seen struct {
	name  string
	mu    sync.Mutex
	lines []string
}

func (s *seen) RequestDone(r *engine.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprintf("%s %s %d", r.Request.Method, r.Request.RequestURI, r.Status))
}

func (s *seen) has(t *testing.T, want string) {
	t.Helper()
	var got string
	testkit.Eventually(t, s.name+" to be told of "+want, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		got = fmt.Sprint(s.lines)
		return got == want
	})
}

// Every observer is told of requests that the application has answered, of those that the engine or
// the server has turned down, and of connections that are turned away; after a reload those of the
// new Server are.
func TestObserversAreToldOfEveryRequest(t *testing.T) {
	first, second, later := &seen{name: "the first"}, &seen{name: "the second"}, &seen{name: "a later one"}
	x := launch(t, &Server{App: echo, Limits: Limits{MaxConnections: 1}, Observers: []engine.Observer{first, second}})
	ask := func(request string) {
		c := x.request(request)
		c.Response("GET")
		_ = c.Close()
		testkit.Eventually(t, "the connection to be gone", func() bool { return x.connections() == 0 })
	}
	ask("GET /answered HTTP/1.1\r\nHost: x\r\n\r\n")
	ask("POST /too-large HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
	ask("GET /no-host HTTP/1.1\r\n\r\n")
	held := x.request("GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
	held.Response("GET")
	x.dial().Response("GET")
	_ = held.Close()
	const told = "[GET /answered 200 POST /too-large 413 GET /no-host 400 GET /held 200   503]"
	first.has(t, told)
	second.has(t, told)

	if err := x.server.Reload(t.Context(), &Server{App: echo, Observers: []engine.Observer{later}}); err != nil {
		t.Fatal(err)
	}
	x.request("GET /later HTTP/1.1\r\nHost: x\r\n\r\n").Response("GET")
	later.has(t, "[GET /later 200]")
	first.has(t, told)
}
