package chat

import (
	"crypto/rand"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"time"
)

// Visit is a connection of a user. Its methods may be called by any goroutine.
type Visit struct {
	state *State
	who   *session
	send  func(v any) bool
}

// Hello is what a client says when it connects: the session of an earlier connection, or "" and a name, and the
// id of the last message that it has got.
type Hello struct {
	Session string `form:"session"`
	Name    string `form:"name"`
	Last    int    `form:"lastMsgId"`
}

// Enter begins a visit, which must be ended by Leave. send passes a value to the client as JSON, unless it would
// have to wait. It is called by one goroutine at a time.
func (s *State) Enter(hello Hello, send func(v any) bool) *Visit {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := &Visit{state: s, who: s.sessions[hello.Session], send: send}
	if v.who == nil {
		v.begin(hello)
	} else {
		v.resume(hello.Last)
	}
	return v
}

func (v *Visit) begin(hello Hello) {
	s := v.state
	s.ids.user++
	v.who = &session{token: rand.Text(), id: s.ids.user, name: s.freeName(hello.Name), rooms: map[string]bool{}, visit: v}
	s.sessions[v.who.token] = v.who
	s.tell("user_connected", object{"user": v.who.name, "count": s.online()})
	var rooms []string
	for _, r := range s.sortedRooms() {
		rooms = append(rooms, r.name)
	}
	v.send(object{"type": "connected", "session_id": v.who.token, "name": v.who.name, "rooms": rooms})
	v.join("general")
}

func (v *Visit) resume(last int) {
	v.who.visit = v
	if v.who.expiry != nil {
		v.who.expiry.Stop()
	}
	missed := map[string][]message{}
	for name := range v.who.rooms {
		missed[name] = v.state.rooms[name].since(last, keptMessages)
	}
	v.send(object{
		"type": "resumed", "session_id": v.who.token, "name": v.who.name,
		"rooms": slices.Sorted(maps.Keys(v.who.rooms)), "missedMessages": missed,
	})
}

// Leave ends the visit. The user stays in the rooms for a while, in case the client connects again.
func (v *Visit) Leave() {
	s := v.state
	s.mu.Lock()
	defer s.mu.Unlock()
	if v.who.visit != v { // another connection has taken the session over
		return
	}
	v.who.visit = nil
	if s.closed {
		return
	}
	who := v.who
	who.expiry = time.AfterFunc(s.grace, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if who.visit == nil && !s.closed && s.sessions[who.token] == who {
			s.expire(who)
		}
	})
}

// request is what a client sends.
type request struct {
	Type, Room, Text, To, Name string
	Typing                     any
	TS                         any
}

// Receive does what a client asks for in JSON. What is not JSON, or has an unknown type, is ignored.
func (v *Visit) Receive(text string) {
	var r request
	if json.Unmarshal([]byte(text), &r) != nil {
		return
	}
	v.state.mu.Lock()
	defer v.state.mu.Unlock()
	if v.who.visit != v {
		return
	}
	switch r.Type {
	case "", "message":
		v.say(orGeneral(r.Room), r.Text)
	case "join":
		v.join(roomName(r.Room))
	case "leave":
		v.leaveRoom(r.Room)
	case "typing":
		v.setTyping(orGeneral(r.Room), r.Typing)
	case "pm":
		v.whisper(r.To, r.Text)
	case "set_nick":
		v.rename(r.Name)
	case "get_rooms":
		v.listRooms()
	case "get_users":
		v.listUsers(r.Room)
	case "get_history":
		history := []message{}
		if room := v.state.rooms[r.Room]; room != nil {
			history = room.since(0, keptMessages)
		}
		v.send(object{"type": "history", "room": r.Room, "messages": history})
	case "ping":
		v.send(object{"type": "pong", "ts": r.TS})
	}
}

func orGeneral(room string) string {
	if room == "" {
		return "general"
	}
	return room
}

// All methods below need the mu of the state.

func (v *Visit) fail(message string) { v.send(object{"type": "error", "message": message}) }

func (v *Visit) say(name, text string) {
	if !v.who.rooms[name] {
		v.fail("You are not in room: " + name)
		return
	}
	if command, is := strings.CutPrefix(text, "/"); is {
		v.command(name, command)
		return
	}
	if text == "" {
		return
	}
	if v.who.typing != "" {
		v.setTyping(name, nil)
	}
	v.publish(name, text, "message")
}

func (v *Visit) publish(name, text, kind string) {
	r := v.state.rooms[name]
	m := v.state.say(r, v.who.name, text, kind)
	v.state.broadcast(r, object{"type": kind, "room": name, "from": m.From, "text": text, "ts": m.TS, "id": m.ID}, nil)
}

func (v *Visit) command(room, line string) {
	command, args, _ := strings.Cut(line, " ")
	args = strings.TrimSpace(args)
	switch {
	case command == "help":
		v.send(object{"type": "system", "room": room, "text": "Commands: /rooms, /users, /join ROOM, /leave, /pm USER TEXT, /nick NAME, /me TEXT"})
	case command == "rooms":
		v.listRooms()
	case command == "users":
		v.listUsers(room)
	case command == "join" && args != "":
		v.join(roomName(args))
	case command == "leave":
		v.leaveRoom(room)
	case command == "pm" && strings.Contains(args, " "):
		to, text, _ := strings.Cut(args, " ")
		v.whisper(to, text)
	case command == "nick" && args != "":
		v.rename(args)
	case command == "me" && args != "":
		v.publish(room, "* "+v.who.name+" "+args, "action")
	default:
		v.fail("Unknown command: /" + command + ". Send /help for a list.")
	}
}

func (v *Visit) join(name string) {
	if v.who.rooms[name] {
		v.fail("You are already in room: " + name)
		return
	}
	r := v.state.room(name, v.who.name)
	r.users[v.who], v.who.rooms[name] = true, true
	v.state.say(r, "system", v.who.name+" joined the room", "system")
	v.send(object{"type": "joined", "room": name, "history": r.since(0, 50), "users": r.list()})
	v.state.broadcast(r, object{"type": "user_joined", "room": name, "user": v.who.name, "users": r.list()}, v.who)
}

func (v *Visit) leaveRoom(name string) {
	switch {
	case name == "general":
		v.fail("You cannot leave the general room")
	case !v.who.rooms[name]:
		v.fail("You are not in room: " + name)
	default:
		v.state.leave(v.who, v.state.rooms[name])
		v.send(object{"type": "left", "room": name})
	}
}

// setTyping tells a room whether the user is typing. JSON's false, 0 and "" mean no.
func (v *Visit) setTyping(name string, typing any) {
	if !v.who.rooms[name] {
		return
	}
	is := 1
	switch typing {
	case nil, false, 0.0, "":
		is = 0
	}
	v.who.typing = ""
	if is == 1 {
		v.who.typing = name
	}
	v.state.broadcast(v.state.rooms[name], object{"type": "typing", "room": name, "user": v.who.name, "typing": is}, v.who)
}

func (v *Visit) whisper(to, text string) {
	if to == "" || text == "" {
		return
	}
	other := v.state.named(to)
	if other == nil {
		v.fail("User not found: " + to)
		return
	}
	other.visit.send(object{"type": "pm", "from": v.who.name, "text": text, "ts": now()})
	v.send(object{"type": "pm_sent", "to": to, "text": text, "ts": now()})
}

func (v *Visit) rename(name string) {
	old := v.who.name
	if name == old {
		return
	}
	v.who.name = v.state.freeName(name)
	v.send(object{"type": "nick_changed", "old_name": old, "new_name": v.who.name})
	for _, room := range slices.Sorted(maps.Keys(v.who.rooms)) {
		r := v.state.rooms[room]
		v.state.say(r, "system", old+" is now known as "+v.who.name, "system")
		v.state.broadcast(r, object{"type": "nick_changed", "room": room, "old_name": old, "new_name": v.who.name, "users": r.list()}, v.who)
	}
}

func (v *Visit) listRooms() {
	rooms := []object{}
	for _, r := range v.state.sortedRooms() {
		rooms = append(rooms, object{"name": r.name, "users": len(r.users)})
	}
	v.send(object{"type": "room_list", "rooms": rooms})
}

func (v *Visit) listUsers(name string) {
	users := []user{}
	if r := v.state.rooms[name]; r != nil {
		users = r.list()
	}
	v.send(object{"type": "user_list", "room": name, "users": users})
}
