// Package chat is a chat with rooms, private messages and sessions that outlive a connection. Its pieces: state.go
// who is where and what was said, visit.go the messages of a client, site.go pages, the API and the event stream,
// events.go a WebSocket by plain events. Example websocket-chat-v2 has the same with another WebSocket.
package chat

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi/sse"
)

const (
	keptMessages = 100 // of a room
	keptEvents   = 50
	// Grace is how long a user who has lost the connection stays in the rooms.
	Grace = 30 * time.Second
)

// object is a message as JSON.
type object map[string]any

// message is something that was said in a room.
type message struct {
	ID   int     `json:"id"`
	From string  `json:"from"`
	Text string  `json:"text"`
	Type string  `json:"type"` // "message", "action" or "system"
	TS   float64 `json:"ts"`
}

// user is what others see of a session.
type user struct {
	ID     int    `json:"id"`
	Name   string `json:"name"`
	Typing bool   `json:"typing"`
}

type room struct {
	name     string
	created  float64
	users    map[*session]bool
	messages []message
}

// session is a user, also while the connection is lost.
type session struct {
	token  string // known to its client alone
	id     int
	name   string
	rooms  map[string]bool
	typing string // the room
	visit  *Visit // nil without a connection
	expiry *time.Timer
}

// event is news for the event stream.
type event struct {
	id   int
	name string
	data object
}

// State is all that the chat remembers. It sends to a client only what that can take at once, so that a slow one
// does not hold up the others.
type State struct {
	grace time.Duration
	began time.Time

	mu       sync.Mutex
	sessions map[string]*session
	rooms    map[string]*room
	events   []event
	streams  map[*sse.Stream]bool
	ids      struct{ message, event, user int }
	closed   bool
}

// NewState returns a chat with three empty rooms. grace is how long a user who has lost the connection stays.
func NewState(grace time.Duration) *State {
	s := &State{grace: grace, began: time.Now(), sessions: map[string]*session{}, rooms: map[string]*room{}, streams: map[*sse.Stream]bool{}}
	for _, name := range []string{"general", "random", "help"} {
		s.room(name, "system")
	}
	return s
}

// Close ends what waits for lost connections.
func (s *State) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, who := range s.sessions {
		if who.expiry != nil {
			who.expiry.Stop()
		}
	}
}

// now is the time as JSON has it.
func now() float64 { return float64(time.Now().UnixMicro()) / 1e6 }

// All methods below need mu.

// room returns the room of a name, and makes it if there is none.
func (s *State) room(name, creator string) *room {
	r := s.rooms[name]
	if r == nil {
		r = &room{name: name, created: now(), users: map[*session]bool{}}
		s.rooms[name] = r
		s.tell("room_created", object{"room": name, "created_by": creator})
	}
	return r
}

// say adds a message to a room.
func (s *State) say(r *room, from, text, kind string) message {
	s.ids.message++
	m := message{ID: s.ids.message, From: from, Text: text, Type: kind, TS: now()}
	r.messages = append(r.messages, m)
	if extra := len(r.messages) - keptMessages; extra > 0 {
		r.messages = slices.Delete(r.messages, 0, extra)
	}
	return m
}

// since returns the messages of a room after one with an id, at most limit.
func (r *room) since(id, limit int) []message {
	first, _ := slices.BinarySearchFunc(r.messages, id+1, func(m message, id int) int { return cmp.Compare(m.ID, id) })
	return append([]message{}, r.messages[max(first, len(r.messages)-limit):]...)
}

// present are the users of a room who have a connection, in the order in which they came.
func (r *room) present() []*session {
	var all []*session
	for who := range r.users {
		if who.visit != nil {
			all = append(all, who)
		}
	}
	slices.SortFunc(all, func(a, b *session) int { return cmp.Compare(a.id, b.id) })
	return all
}

func (r *room) list() []user {
	all := []user{}
	for _, who := range r.present() {
		all = append(all, user{who.id, who.name, who.typing == r.name})
	}
	return all
}

// broadcast sends to all in a room but one.
func (s *State) broadcast(r *room, o object, but *session) {
	for _, who := range r.present() {
		if who != but {
			who.visit.send(o)
		}
	}
}

// leave takes a user out of a room. A room that somebody has made ends with its last user.
func (s *State) leave(who *session, r *room) {
	delete(r.users, who)
	delete(who.rooms, r.name)
	s.say(r, "system", who.name+" left the room", "system")
	s.broadcast(r, object{"type": "user_left", "room": r.name, "user": who.name, "users": r.list()}, who)
	if len(r.users) == 0 && r.name != "general" && r.name != "random" && r.name != "help" {
		delete(s.rooms, r.name)
		s.tell("room_deleted", object{"room": r.name})
	}
}

// expire ends a session that has not come back.
func (s *State) expire(who *session) {
	for _, name := range slices.Sorted(maps.Keys(who.rooms)) {
		s.leave(who, s.rooms[name])
	}
	delete(s.sessions, who.token)
	s.tell("user_disconnected", object{"user": who.name, "count": s.online()})
}

func (s *State) online() (n int) {
	for _, who := range s.sessions {
		if who.visit != nil {
			n++
		}
	}
	return n
}

// named returns the connected user of a name.
func (s *State) named(name string) *session {
	for _, who := range s.sessions {
		if who.name == name && who.visit != nil {
			return who
		}
	}
	return nil
}

func (s *State) sortedRooms() []*room {
	return slices.SortedFunc(maps.Values(s.rooms), func(a, b *room) int { return strings.Compare(a.name, b.name) })
}

func (s *State) stats() object {
	messages := 0
	for _, r := range s.rooms {
		messages += len(r.messages)
	}
	return object{
		"uptime": int(time.Since(s.began).Seconds()), "users_online": s.online(), "rooms_count": len(s.rooms),
		"messages_total": messages, "sse_subscribers": len(s.streams),
	}
}

var (
	noNameCharacter = regexp.MustCompile(`[^\pL\pN_]`)
	noRoomCharacter = regexp.MustCompile(`[^\pL\pN_-]`)
)

// freeName makes a name of what a client has sent, which no other user has.
func (s *State) freeName(text string) string {
	name := cut(noNameCharacter.ReplaceAllString(cmp.Or(text, "Anonymous"), "_"), 20)
	if len(name) < 2 {
		name = fmt.Sprintf("User%d", rand.IntN(1000))
	}
	free := name
	for n := 1; s.named(free) != nil; n++ {
		free = fmt.Sprintf("%s%d", name, n)
	}
	return free
}

func roomName(text string) string {
	name := strings.ToLower(cut(noRoomCharacter.ReplaceAllString(text, "_"), 30))
	if len(name) < 2 {
		name = fmt.Sprintf("room%d", rand.IntN(1000))
	}
	return name
}

// cut returns at most n characters of text.
func cut(text string, n int) string {
	if all := []rune(text); len(all) > n {
		return string(all[:n])
	}
	return text
}
