package apps

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
	"github.com/pagi-go/pagi-bridge/pagi/websocket"
)

// WebSocketChat is a chat with rooms. Clients and server send JSON objects with a field "type".
//
// A client sends:
//
//	{"type": "message", "message": "hello", "room": "lobby"}   without room: to all of its rooms
//	{"type": "private", "message": "hello", "to": "ann"}       a user_id, or a name in one of its rooms
//	{"type": "join", "room": "go"}
//	{"type": "leave", "room": "go"}
//	{"type": "nick", "username": "ann"}
//	{"type": "list", "room": "go"}                             who is there
//	{"type": "rooms"}
//	{"type": "history", "room": "go"}                          of a room that it has joined
//
// It gets welcome, message, private, user_joined, user_left, user_nick, and as answers sent (of a
// private message), joined, left, nick, users, rooms, history and error. The messages of a client
// do not come back to it.
//
// In a room of more than pubsub.MaxPresence users, user_count with the number comes instead of user_joined,
// user_left and user_nick, at most once in a second. The list has the first 1000 users, and their count.
//
// Rooms are channels of the Broker. So they reach over all processes that share it.
type WebSocketChat struct {
	// DefaultRoom is the room that a client is in from the start; "" means "lobby".
	DefaultRoom string `yaml:"default_room"`
	// Channel is in front of the names of channels, so that several chats have rooms of their own; ""
	// means "chat".
	Channel string `yaml:"channel"`
	// MaxRooms is how many rooms there may be; 0 means 100.
	MaxRooms int `yaml:"max_rooms"`
	// MaxJoined is how many rooms a client may be in; 0 means 20.
	MaxJoined int `yaml:"max_joined"`
	// MaxMessage is the size of a message; 0 means 4 KiB.
	MaxMessage int64 `yaml:"max_message" unit:"bytes"`
	// Rate is how many messages a client may send in a second, with four times as many at once; 0
	// means 5. The others are dropped, and answered with an error.
	Rate int `yaml:"rate"`
	// History is how many messages of a room are kept, for an hour; 0 means none.
	History int `yaml:"history"`
	// Name returns the name of a client, which then cannot change it; "" lets the client choose. nil
	// means the name of the user whom a middleware has authenticated (pagi.Auth).
	Name func(scope *pagi.Scope) string `yaml:"-"`
	// Broker has the channels; nil means pubsub.Default.
	Broker pubsub.Broker `yaml:"-"`
	// Buffer bounds what waits for a slow client.
	Buffer `yaml:",inline"`

	joining sync.Mutex     // held while a room may be made; guards here
	here    map[string]int // clients of this process, by room
}

func init() { parts.App[WebSocketChat]("ws_chat", "default_room") }

// Defaults of WebSocketChat.
const (
	defaultRoom       = "lobby"
	defaultMaxRooms   = 100
	defaultMaxJoined  = 20
	defaultMaxChat    = 4 << 10
	defaultChatRate   = 5
	maxRoomName       = 50
	maxUserName       = 20
	chatEnvelope      = 1 << 10 // bytes of a command besides the message
	defaultChatPrefix = "chat"
)

// Check reports options that cannot work.
func (c *WebSocketChat) Check() error {
	errs := []error{c.Buffer.check()}
	if c.DefaultRoom != "" && !isRoomName(c.DefaultRoom) {
		errs = append(errs, pagi.BadOption("default_room", "%q is no name of a room: 1 to %d letters, digits, spaces, and _ - .", c.DefaultRoom, maxRoomName))
	}
	if len(c.Channel) > pubsub.MaxName/4 || c.Channel != "" && pubsub.CheckName(c.Channel) != nil {
		errs = append(errs, pagi.BadOption("channel", "must be at most %d bytes without control characters", pubsub.MaxName/4))
	}
	for _, o := range []struct {
		option string
		value  int64
	}{{"max_rooms", int64(c.MaxRooms)}, {"max_joined", int64(c.MaxJoined)}, {"max_message", c.MaxMessage}, {"rate", int64(c.Rate)}} {
		if o.value < 0 {
			errs = append(errs, pagi.BadOption(o.option, "must not be below 0, is %d", o.value))
		}
	}
	if c.History < 0 || c.History > pubsub.MaxHistoryMessages {
		errs = append(errs, pagi.BadOption("history", "must be 0 to %d, is %d", pubsub.MaxHistoryMessages, c.History))
	}
	return errors.Join(errs...)
}

func (c *WebSocketChat) broker() pubsub.Broker { return brokerOr(c.Broker) }

// roomChannel returns the name of a room's channel; userChannel that of a user's own, for private
// messages.
func (c *WebSocketChat) roomChannel(room string) string { return c.prefix() + "/" + room }
func (c *WebSocketChat) userChannel(id string) string   { return c.prefix() + "@" + id }
func (c *WebSocketChat) prefix() string                 { return or(c.Channel, defaultChatPrefix) }

func (c *WebSocketChat) keep() error {
	if c.History == 0 {
		return nil
	}
	return c.broker().Keep(c.roomChannel("*"), pubsub.History{Messages: c.History})
}

// Serve answers a websocket scope. A request gets 400.
func (c *WebSocketChat) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type == pagi.TypeLifespan {
		return serveLife(ctx, scope, receive, send, c.Check, c.keep)
	}
	if done, err := refuseSocket(ctx, scope, send); done {
		return err
	}
	if err := errors.Join(c.Check(), c.keep()); err != nil {
		return err
	}
	s := newSocket(ctx, scope, receive, send, c.limits())
	defer s.close()
	if err := s.conn.Accept(websocket.Accept{}); err != nil {
		return leftIsNil(ctx, err)
	}
	user := newChatUser(c, s, scope)
	defer user.leaveAll()
	if err := user.enter(ctx); err != nil {
		return leftIsNil(ctx, err)
	}
	return s.run(ctx, send, user.forward, user.command)
}

// subscribe puts a member into a room, unless that would be one more room than there may be.
func (c *WebSocketChat) subscribe(ctx context.Context, room string, o pubsub.Options) (*pubsub.Subscription, error) {
	c.joining.Lock()
	defer c.joining.Unlock()
	channel := c.roomChannel(room)
	if c.here[room] == 0 {
		rooms, err := c.broker().Channels(ctx, c.roomChannel(""))
		if err != nil {
			return nil, err
		}
		isNew := !slices.ContainsFunc(rooms, func(r pubsub.ChannelInfo) bool { return r.Name == channel })
		if isNew && len(rooms) >= intOr(c.MaxRooms, defaultMaxRooms) {
			return nil, pubsub.ErrTooMany
		}
	}
	sub, err := c.broker().Subscribe(ctx, channel, o)
	if err != nil {
		return nil, err
	}
	if c.here == nil {
		c.here = map[string]int{}
	}
	c.here[room]++
	return sub, nil
}

// unsubscribe takes a member out of a room.
func (c *WebSocketChat) unsubscribe(room string, sub *pubsub.Subscription) {
	sub.Close()
	c.joining.Lock()
	defer c.joining.Unlock()
	if c.here[room]--; c.here[room] == 0 {
		delete(c.here, room)
	}
}

// isRoomName reports whether a room may have that name.
func isRoomName(name string) bool {
	return len(name) <= maxRoomName && name != "" && strings.TrimSpace(name) == name &&
		!strings.ContainsFunc(name, func(r rune) bool { return !isRoomRune(r) })
}

func isRoomRune(r rune) bool { return r == ' ' || r == '.' || isNameRune(r) }

func intOr(value, otherwise int) int {
	if value == 0 {
		return otherwise
	}
	return value
}
