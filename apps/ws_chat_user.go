package apps

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
)

// chatUser is a client of a chat. The goroutine that receives uses it; forward runs on the one that
// sends, and uses only the socket and what does not change.
type chatUser struct {
	chat   *WebSocketChat
	socket *socket
	id     string
	named  bool // not by the client
	name   string
	own    *pubsub.Subscription            // for private messages
	rooms  map[string]*pubsub.Subscription // by their names
	bucket bucket
}

// chatCommand is what a client sends.
type chatCommand struct {
	Type     string `json:"type"`
	Message  string `json:"message"`
	Room     string `json:"room"`
	Username string `json:"username"`
	To       string `json:"to"`
}

// chatMessage is what a client gets. The fields that a type does not have are left out.
type chatMessage struct {
	Type      string            `json:"type"`
	Room      string            `json:"room,omitempty"`
	UserID    string            `json:"user_id,omitempty"`
	Username  string            `json:"username,omitempty"`
	To        string            `json:"to,omitempty"`
	Message   string            `json:"message,omitempty"`
	Timestamp int64             `json:"timestamp,omitempty"`
	Count     int               `json:"count,omitempty"`
	Users     []chatMember      `json:"users,omitzero"`
	Rooms     []chatRoom        `json:"rooms,omitzero"`
	Messages  []json.RawMessage `json:"messages,omitzero"`
}

type chatMember struct {
	UserID   string `json:"user_id"`
	Username string `json:"username"`
}

type chatRoom struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

// problem is an error that is the client's, as text for it.
type problem string

func (p problem) Error() string { return string(p) }

func newChatUser(c *WebSocketChat, s *socket, scope *pagi.Scope) *chatUser {
	var random [6]byte
	rand.Read(random[:])
	u := &chatUser{chat: c, socket: s, id: hex.EncodeToString(random[:]), rooms: map[string]*pubsub.Subscription{}}
	if c.Name != nil {
		u.name = c.Name(scope)
	} else if auth, ok := scope.Value(pagi.AuthKey).(pagi.Auth); ok {
		u.name = auth.Username
	}
	if u.named = u.name != ""; !u.named {
		u.name = "user_" + u.id[:6]
	}
	rate := intOr(c.Rate, defaultChatRate)
	u.bucket = newBucket(rate, rate*burstFactor)
	return u
}

// enter joins the default room, and welcomes the client.
func (u *chatUser) enter(ctx context.Context) (err error) {
	options := pubsub.Options{Queue: u.socket.queue, Member: pubsub.Member{ID: u.id, Info: u.name}}
	if u.own, err = u.chat.broker().Subscribe(ctx, u.chat.userChannel(u.id), options); err != nil {
		return err
	}
	room := or(u.chat.DefaultRoom, defaultRoom)
	var full problem
	if err = u.join(ctx, room); errors.As(err, &full) {
		room = "" // the other rooms are as many as there may be
	} else if err != nil {
		return err
	}
	return u.send(chatMessage{Type: "welcome", UserID: u.id, Username: u.name, Room: room})
}

func (u *chatUser) leaveAll() {
	for room, sub := range u.rooms {
		u.chat.unsubscribe(room, sub)
	}
	if u.own != nil {
		u.own.Close()
	}
}

func (u *chatUser) send(m chatMessage) error { return u.socket.conn.SendJSON(m) }

// forward sends what comes from a channel.
func (u *chatUser) forward(m *pubsub.Message) error {
	if m.Kind == pubsub.Data {
		return u.socket.sendMessage(m)
	}
	room, ok := strings.CutPrefix(m.Channel, u.chat.roomChannel(""))
	if !ok { // someone else under this user's id
		return nil
	}
	if m.Kind == pubsub.Count {
		count, err := strconv.Atoi(m.Data)
		if err != nil {
			return err
		}
		return u.send(chatMessage{Type: "user_count", Room: room, Count: count})
	}
	what := map[pubsub.Kind]string{pubsub.Join: "user_joined", pubsub.Leave: "user_left", pubsub.Update: "user_nick"}[m.Kind]
	return u.send(chatMessage{Type: what, Room: room, UserID: m.From, Username: m.Data})
}

// command handles a message of the client.
func (u *chatUser) command(m pagi.WebSocketReceive) error {
	err := u.handle(m)
	var wrong problem
	if errors.As(err, &wrong) {
		return u.send(chatMessage{Type: "error", Message: string(wrong)})
	}
	return err
}

func (u *chatUser) handle(m pagi.WebSocketReceive) error {
	if !u.bucket.take(time.Now()) {
		return problem("Too many messages")
	}
	most := int64Or(u.chat.MaxMessage, defaultMaxChat)
	var c chatCommand
	switch {
	case m.Binary:
		return problem("Messages must be text")
	case int64(len(m.Text)) > most*2+chatEnvelope: // with escapes in the JSON
		return problem("Message too large")
	case json.Unmarshal([]byte(m.Text), &c) != nil:
		return problem("Messages must be JSON objects")
	case int64(len(c.Message)) > most:
		return problem("Message too large")
	}
	ctx := u.socket.ctx
	switch c.Type {
	case "message", "":
		return u.message(ctx, c)
	case "private":
		return u.private(ctx, c)
	case "join":
		room := or(c.Room, or(u.chat.DefaultRoom, defaultRoom))
		if err := u.join(ctx, room); err != nil {
			return err
		}
		return u.send(chatMessage{Type: "joined", Room: room})
	case "leave":
		return u.leave(c.Room)
	case "nick":
		return u.nick(ctx, c.Username)
	case "list":
		return u.list(ctx, c.Room)
	case "rooms":
		return u.listRooms(ctx)
	case "history":
		return u.history(ctx, c.Room)
	}
	return problem("Unknown type")
}

// message sends to a room, or to all rooms that the user is in.
func (u *chatUser) message(ctx context.Context, c chatCommand) error {
	rooms := slices.Sorted(maps.Keys(u.rooms))
	if c.Room != "" {
		rooms = []string{c.Room}
	}
	if strings.TrimSpace(c.Message) == "" {
		return problem("The message is empty")
	}
	for _, room := range rooms {
		if u.rooms[room] == nil {
			return problem("Not in that room")
		}
		if err := u.publish(ctx, u.chat.roomChannel(room), chatMessage{Type: "message", Room: room, Message: c.Message}); err != nil {
			return err
		}
	}
	return nil
}

// publish sends a message of the user to a channel.
func (u *chatUser) publish(ctx context.Context, channel string, m chatMessage) error {
	m.UserID, m.Username, m.Timestamp = u.id, u.name, time.Now().Unix()
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	_, err = u.chat.broker().Publish(ctx, channel, pubsub.Message{Data: string(text), From: u.id})
	if errors.Is(err, pubsub.ErrTooLarge) {
		return problem("Message too large")
	}
	return err
}

// private sends to one user.
func (u *chatUser) private(ctx context.Context, c chatCommand) error {
	if strings.TrimSpace(c.Message) == "" {
		return problem("The message is empty")
	}
	to, err := u.find(ctx, c.To)
	if err != nil {
		return err
	}
	if err := u.publish(ctx, u.chat.userChannel(to), chatMessage{Type: "private", To: to, Message: c.Message}); err != nil {
		return err
	}
	return u.send(chatMessage{Type: "sent", To: to})
}

// find returns the id of a user who is there, by the id or by the name in a room of this user.
func (u *chatUser) find(ctx context.Context, to string) (id string, err error) {
	if isUserID(to) {
		members, err := u.chat.broker().Members(ctx, u.chat.userChannel(to))
		if err != nil {
			return "", err
		}
		if len(members) > 0 {
			return to, nil
		}
	}
	found := ""
	err = u.others(ctx, func(m pubsub.Member) error {
		if m.Info == to {
			if found != "" && found != m.ID {
				return problem("Several users have that name")
			}
			found = m.ID
		}
		return nil
	})
	if err == nil && found == "" {
		err = problem("No such user")
	}
	return found, err
}

// others calls f for each other member of the user's rooms, once for each room.
func (u *chatUser) others(ctx context.Context, f func(pubsub.Member) error) error {
	for room := range u.rooms {
		members, err := u.chat.broker().Members(ctx, u.chat.roomChannel(room))
		if err != nil {
			return err
		}
		for _, m := range members {
			if m.ID == u.id {
				continue
			}
			if err := f(m); err != nil {
				return err
			}
		}
	}
	return nil
}

func (u *chatUser) join(ctx context.Context, room string) error {
	switch {
	case !isRoomName(room):
		return problem("Bad name of a room")
	case u.rooms[room] != nil:
		return nil
	case len(u.rooms) >= intOr(u.chat.MaxJoined, defaultMaxJoined):
		return problem("You are in too many rooms")
	}
	sub, err := u.chat.subscribe(ctx, room, pubsub.Options{
		Queue: u.socket.queue, Member: pubsub.Member{ID: u.id, Info: u.name}, Presence: true, Except: u.id,
	})
	if errors.Is(err, pubsub.ErrTooMany) {
		return problem("Max rooms reached")
	}
	if err != nil {
		return err
	}
	u.rooms[room] = sub
	return nil
}

func (u *chatUser) leave(room string) error {
	sub := u.rooms[room]
	if sub == nil {
		return problem("Not in that room")
	}
	u.chat.unsubscribe(room, sub)
	delete(u.rooms, room)
	return u.send(chatMessage{Type: "left", Room: room})
}

// nick changes the name. What is no letter, digit, underscore or hyphen is left out, and the name
// is cut.
func (u *chatUser) nick(ctx context.Context, name string) error {
	name = userName(name)
	switch {
	case u.named:
		return problem("Your name is given")
	case name == "":
		return problem("A name needs letters or digits")
	}
	err := u.others(ctx, func(m pubsub.Member) error {
		if m.Info == name {
			return problem("That name is taken")
		}
		return nil
	})
	if err != nil {
		return err
	}
	u.name = name
	for _, sub := range append(slices.Collect(maps.Values(u.rooms)), u.own) {
		if err := sub.SetInfo(ctx, name); err != nil {
			return err
		}
	}
	return u.send(chatMessage{Type: "nick", Username: name})
}

// userName returns a name without what names must not have.
func userName(name string) string {
	name = strings.Map(func(r rune) rune {
		if isNameRune(r) {
			return r
		}
		return -1
	}, name)
	if utf8.RuneCountInString(name) > maxUserName {
		name = string([]rune(name)[:maxUserName])
	}
	return name
}

func isNameRune(r rune) bool {
	return r == '_' || r == '-' || r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r))
}

func (u *chatUser) list(ctx context.Context, room string) error {
	if !isRoomName(room) {
		return problem("Bad name of a room")
	}
	members, err := u.chat.broker().Members(ctx, u.chat.roomChannel(room))
	if err != nil {
		return err
	}
	users := make([]chatMember, min(len(members), maxUsersAnswer))
	for i := range users {
		users[i] = chatMember{members[i].ID, members[i].Info}
	}
	return u.send(chatMessage{Type: "users", Room: room, Users: users, Count: len(members)})
}

func (u *chatUser) listRooms(ctx context.Context) error {
	channels, err := u.chat.broker().Channels(ctx, u.chat.roomChannel(""))
	if err != nil {
		return err
	}
	rooms := make([]chatRoom, len(channels))
	for i, c := range channels {
		rooms[i] = chatRoom{strings.TrimPrefix(c.Name, u.chat.roomChannel("")), c.Subscribers}
	}
	return u.send(chatMessage{Type: "rooms", Rooms: rooms})
}

// history sends what a room has kept. A subscription that ends at once brings it.
func (u *chatUser) history(ctx context.Context, room string) error {
	if u.rooms[room] == nil {
		return problem("Not in that room")
	}
	sub, err := u.chat.broker().Subscribe(ctx, u.chat.roomChannel(room), pubsub.Options{Last: min(u.chat.History, maxHistoryAnswer)})
	if err != nil {
		return err
	}
	defer sub.Close()
	messages := []json.RawMessage{}
	for n, _ := sub.Queue().Len(); n > 0; n-- {
		m, err := sub.Next(ctx)
		if err != nil {
			return err
		}
		if json.Valid([]byte(m.Data)) { // others may publish to the channel
			messages = append(messages, json.RawMessage(m.Data))
		}
	}
	return u.send(chatMessage{Type: "history", Room: room, Messages: messages})
}

// maxHistoryAnswer is how many messages the answer to "history" has at most.
const maxHistoryAnswer = 200

// maxUsersAnswer is how many users the answer to "list" has at most.
const maxUsersAnswer = 1000

// isUserID reports whether a text may be the id of a user.
func isUserID(text string) bool {
	_, err := hex.DecodeString(text)
	return len(text) == 12 && err == nil
}

func int64Or(value, otherwise int64) int64 {
	if value == 0 {
		return otherwise
	}
	return value
}
