package chat

import (
	"context"
	_ "embed"
	"encoding/json"
	"log"
	"slices"
	"strconv"
	"time"

	"github.com/pagi-go/pagi-bridge/examples/internal/look"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/endpoint"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
	"github.com/pagi-go/pagi-bridge/pagi/response"
	"github.com/pagi-go/pagi-bridge/pagi/sse"
)

//go:embed page.html
var page string

// statsInterval is how often the event stream has the numbers of the chat.
const statsInterval = 10 * time.Second

// Site returns the whole application. visits is its WebSocket: for each connection it must call Enter.
func (s *State) Site(visits pagi.App) pagi.App {
	r := &endpoint.Router{}
	r.Get("/", look.Page(page))
	r.Get("/style.css", look.Style)
	r.Get("/api/rooms", s.getRooms)
	r.Get("/api/room/{name}/history", s.inRoom(func(r *room) any { return r.since(0, keptMessages) }))
	r.Get("/api/room/{name}/users", s.inRoom(func(r *room) any { return r.list() }))
	r.Get("/api/stats", s.getStats)
	r.SSE("/events", s.stream)
	r.Mount("/ws/chat", visits)
	var hooks lifespan.Hooks
	hooks.Shutdown = append(hooks.Shutdown, func(context.Context, map[string]any) error {
		s.Close()
		return nil
	})
	return pagi.Chain(r, hooks)
}

func answer(v any) *response.Response { return response.JSON(v).Header("cache-control", "no-cache") }

func (s *State) getRooms(*endpoint.Context) (*response.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rooms := []object{}
	for _, r := range s.sortedRooms() {
		rooms = append(rooms, object{"name": r.name, "users": len(r.users), "created_at": r.created})
	}
	return answer(rooms), nil
}

func (s *State) getStats(*endpoint.Context) (*response.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return answer(s.stats()), nil
}

// inRoom makes a function of one that tells something of a room.
func (s *State) inRoom(tell func(r *room) any) endpoint.Func {
	return func(c *endpoint.Context) (*response.Response, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		r := s.rooms[c.Param("name")]
		if r == nil {
			return answer(object{"error": "Room not found"}).Status(404), nil
		}
		return answer(tell(r)), nil
	}
}

// tell keeps an event and sends it to all streams. The caller holds mu.
func (s *State) tell(name string, data object) {
	s.ids.event++
	e := event{s.ids.event, name, data}
	s.events = append(s.events, e)
	if extra := len(s.events) - keptEvents; extra > 0 {
		s.events = slices.Delete(s.events, 0, extra)
	}
	for stream := range s.streams {
		trySend(stream, e)
	}
}

func trySend(stream *sse.Stream, e event) {
	data, err := json.Marshal(e.data)
	if err != nil {
		log.Print(err) // a mistake of this package
		return
	}
	id := ""
	if e.id != 0 {
		id = strconv.Itoa(e.id)
	}
	stream.TrySend(sse.Event{Name: e.name, Data: string(data), ID: id})
}

// stream sends what the client has missed, then the news, and the numbers from time to time. All is sent with mu
// held, because TrySend drops an event while another one is being sent.
func (s *State) stream(stream *sse.Stream) error {
	if err := stream.Start(200, pagi.NewHeaders("cache-control", "no-cache", "x-accel-buffering", "no")); err != nil {
		return err
	}
	last, err := strconv.Atoi(stream.LastEventID())
	if err != nil {
		last = 0 // a client that has got nothing yet
	}
	s.mu.Lock()
	for _, e := range s.events {
		if e.id > last {
			trySend(stream, e)
		}
	}
	s.streams[stream] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.streams, stream)
	}()
	return stream.Every(statsInterval, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		trySend(stream, event{name: "stats", data: s.stats()})
		return nil
	})
}
