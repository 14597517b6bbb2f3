package apps_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
)

func ExampleWebSocketEcho() {
	ws := pagitest.New(&apps.WebSocketEcho{}).WebSocket("/")
	fmt.Println(ws.SendText("Hello"))
	fmt.Println(ws.ReceiveText())
	fmt.Println(ws.Finish())
	// Output:
	// <nil>
	// Hello <nil>
	// <nil>
}

func ExampleWebSocketBroadcast() {
	broker := &pubsub.Memory{}
	client := pagitest.New(&apps.WebSocketBroadcast{Feed: apps.Feed{Broker: broker}})
	ann, bob := client.WebSocket("/"), client.WebSocket("/")
	fmt.Println(ann.SendText("Hello"))
	fmt.Println(bob.ReceiveText())
	fmt.Println(ann.Finish(), bob.Finish())
	// Output:
	// <nil>
	// Hello <nil>
	// <nil> <nil>
}

func connect(t *testing.T, client *pagitest.Client, target string, opts ...pagitest.Option) *pagitest.WebSocket {
	t.Helper()
	ws := client.WebSocket(target, opts...)
	if !ws.Accepted {
		t.Fatalf("not accepted: %+v, %v", ws.Response, ws.Finish())
	}
	return ws
}

func finish(t *testing.T, sockets ...*pagitest.WebSocket) {
	t.Helper()
	for _, ws := range sockets {
		if err := ws.Finish(); err != nil {
			t.Error(err)
		}
	}
}

func text(t *testing.T, ws *pagitest.WebSocket, want string) {
	t.Helper()
	if got, err := ws.ReceiveText(); err != nil || got != want {
		t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

func say(t *testing.T, ws *pagitest.WebSocket, text string) {
	t.Helper()
	if err := ws.SendText(text); err != nil {
		t.Fatal(err)
	}
}

func TestWebSocketEcho(t *testing.T) {
	var hooks []string
	codes := make(chan int, 1)
	client := pagitest.New(&apps.WebSocketEcho{
		OnConnect:    func(scope *pagi.Scope) { hooks = append(hooks, scope.Path) },
		OnDisconnect: func(_ *pagi.Scope, code int) { codes <- code },
	})
	ws := connect(t, client, "/echo")
	say(t, ws, "Hello é")
	text(t, ws, "Hello é")
	if err := ws.SendBytes([]byte("\x00\x01\xff")); err != nil {
		t.Fatal(err)
	}
	if got, err := ws.ReceiveBytes(); err != nil || string(got) != "\x00\x01\xff" {
		t.Errorf("%q %v", got, err)
	}
	if err := ws.Close(1001, "bye"); err != nil {
		t.Error(err)
	}
	finish(t, ws)
	if code := testkit.Await(t, codes); code != 1001 || !slices.Equal(hooks, []string{"/echo"}) {
		t.Errorf("code %d, hooks %q", code, hooks)
	}
	client.Get("/").Expect(t, http.StatusBadRequest, "WebSocket")
	if res := client.Events("/").Finish(); res.Status != http.StatusBadRequest {
		t.Errorf("an event stream: %d", res.Status)
	}
	if err := client.Startup(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestWebSocketBroadcast(t *testing.T) {
	b := &pubsub.Memory{}
	client := pagitest.Start(t, &apps.WebSocketBroadcast{Feed: apps.Feed{Channel: "c", Broker: b}})
	ann, bob, joe := connect(t, client, "/"), connect(t, client, "/"), connect(t, client, "/")
	subscribed(t, b, "c", 3)
	say(t, ann, "from ann")
	text(t, bob, "from ann")
	text(t, joe, "from ann")
	if err := bob.SendBytes([]byte{0, 255}); err != nil {
		t.Fatal(err)
	}
	for _, ws := range []*pagitest.WebSocket{ann, joe} { // ann's own message has not come back
		if got, err := ws.ReceiveBytes(); err != nil || string(got) != "\x00\xff" {
			t.Errorf("%q %v", got, err)
		}
	}
	finish(t, joe)
	subscribed(t, b, "c", 2)
	send(t, b, "c", pubsub.Message{Data: "from the server"})
	text(t, ann, "from the server")
	text(t, bob, "from the server")
	finish(t, ann, bob)
	subscribed(t, b, "c", 0)
}

func TestWebSocketBroadcastOptions(t *testing.T) {
	b := &pubsub.Memory{}
	t.Run("a client gets its own messages", func(t *testing.T) {
		ws := connect(t, pagitest.New(&apps.WebSocketBroadcast{EchoSelf: true, Feed: apps.Feed{Broker: b}}), "/")
		say(t, ws, "me")
		text(t, ws, "me")
		finish(t, ws)
	})
	t.Run("what clients send is dropped", func(t *testing.T) {
		client := pagitest.New(&apps.WebSocketBroadcast{ReadOnly: true, EchoSelf: true, Feed: apps.Feed{Broker: b}})
		ws := connect(t, client, "/")
		say(t, ws, "me")
		send(t, b, "default", pubsub.Message{Data: "server"})
		text(t, ws, "server")
		finish(t, ws)
	})
	t.Run("a new client gets the latest messages", func(t *testing.T) {
		client := pagitest.Start(t, &apps.WebSocketBroadcast{Feed: apps.Feed{Channel: "kept", History: 2, Broker: b}})
		for i := range 4 {
			send(t, b, "kept", pubsub.Message{Data: fmt.Sprint(i)})
		}
		ws := connect(t, client, "/")
		text(t, ws, "2")
		text(t, ws, "3")
		finish(t, ws)
	})
	t.Run("a message that is too large closes the connection", func(t *testing.T) {
		small := &pubsub.Memory{MaxMessage: 10}
		ws := connect(t, pagitest.New(&apps.WebSocketBroadcast{Feed: apps.Feed{Broker: small}}), "/")
		say(t, ws, strings.Repeat("x", 11))
		closedWith(t, ws, 1009)
	})
	t.Run("a token is needed", func(t *testing.T) {
		client := pagitest.New(&apps.WebSocketBroadcast{Feed: apps.Feed{Secrets: []string{secret}, Broker: b}})
		ws := client.WebSocket("/")
		if ws.Accepted || ws.Response.Status != http.StatusForbidden {
			t.Errorf("%v %+v", ws.Accepted, ws.Response)
		}
		finish(t, ws)
		finish(t, connect(t, client, "/", pagitest.Query("token", apps.SubscribeToken(secret, "default", time.Now().Add(time.Minute)))))
	})
	t.Run("messages that come too fast wait", func(t *testing.T) {
		client := pagitest.New(&apps.WebSocketBroadcast{EchoSelf: true, Rate: 10, Feed: apps.Feed{Broker: b}})
		ws, begin := connect(t, client, "/"), time.Now()
		for n := range 43 {
			say(t, ws, fmt.Sprint(n))
		}
		for n := range 43 {
			text(t, ws, fmt.Sprint(n))
		}
		if took := time.Since(begin); took < 200*time.Millisecond {
			t.Errorf("43 messages at 10 a second, 40 at once, took %v", took)
		}
		finish(t, ws)
	})
	t.Run("a broker that closes", func(t *testing.T) {
		b := &pubsub.Memory{}
		ws := connect(t, pagitest.New(&apps.WebSocketBroadcast{Feed: apps.Feed{Broker: b}}), "/")
		subscribed(t, b, "default", 1)
		b.Close()
		closedWith(t, ws, 1001)
	})
	t.Run("wrong options", func(t *testing.T) {
		wrong := &apps.WebSocketBroadcast{Feed: apps.Feed{History: -1}}
		if wrong.Check() == nil || pagitest.New(wrong).Startup(t.Context()) == nil {
			t.Error("it starts")
		}
	})
	pagitest.New(&apps.WebSocketBroadcast{}).Get("/").Expect(t, http.StatusBadRequest)
}

func closedWith(t *testing.T, ws *pagitest.WebSocket, code int) {
	t.Helper()
	var end *engine.WebSocketEnd
	for {
		_, err := ws.Receive()
		if err == nil {
			continue
		}
		if !errors.As(err, &end) || end.Code != code {
			t.Errorf("closed with %v, want %d", err, code)
		}
		break
	}
	finish(t, ws)
}

func TestWebSocketBroadcastAndSlowClients(t *testing.T) {
	for policy, code := range map[string]int{"drop": 0, "close": 1013} {
		t.Run(policy, func(t *testing.T) {
			b := &pubsub.Memory{}
			client := pagitest.New(&apps.WebSocketBroadcast{Feed: apps.Feed{Broker: b, Buffer: apps.Buffer{Messages: 4, Slow: policy}}})
			quick := connect(t, client, "/")
			slow := connect(t, client, "/", pagitest.SlowReader(1000, 100))
			subscribed(t, b, "default", 2)
			const count = 40
			for i := range count {
				data := strings.Repeat("x", 300) + fmt.Sprint(i)
				send(t, b, "default", pubsub.Message{Data: data})
				text(t, quick, data) // whatever the slow one does
			}
			if code > 0 {
				closedWith(t, slow, code)
				subscribed(t, b, "default", 1)
				finish(t, quick)
				return
			}
			got, last := 0, ""
			for !strings.HasSuffix(last, fmt.Sprint("x", count-1)) {
				var err error
				if last, err = slow.ReceiveText(); err != nil {
					t.Fatal(err)
				}
				got++
			}
			if got >= count || got < 4 {
				t.Errorf("a slow client got %d messages of %d", got, count)
			}
			finish(t, slow, quick)
		})
	}
}

// talk is a client of a chat.
type talk struct {
	t *testing.T
	*pagitest.WebSocket
	id, name string
}

type said struct {
	Type      string   `json:"type"`
	Room      string   `json:"room"`
	UserID    string   `json:"user_id"`
	Username  string   `json:"username"`
	Message   string   `json:"message"`
	To        string   `json:"to"`
	Timestamp int64    `json:"timestamp"`
	Messages  []said   `json:"messages"`
	Users     []member `json:"users"`
	Rooms     []room   `json:"rooms"`
	Count     int      `json:"count"`
}

type member struct {
	UserID   string `json:"user_id"`
	Username string `json:"username"`
}

type room struct {
	Name  string `json:"name"`
	Count int    `json:"count"`
}

func enter(t *testing.T, client *pagitest.Client, opts ...pagitest.Option) *talk {
	t.Helper()
	c := &talk{t: t, WebSocket: connect(t, client, "/chat", opts...)}
	welcome := c.expect("welcome")
	c.id, c.name = welcome.UserID, welcome.Username
	if c.id == "" || c.name != "user_"+c.id[:6] {
		t.Errorf("%+v", welcome)
	}
	return c
}

func (c *talk) expect(what string) said {
	c.t.Helper()
	var m said
	if err := c.ReceiveJSON(&m); err != nil || m.Type != what {
		c.t.Fatalf("got %+v, %v, want %s", m, err, what)
	}
	return m
}

// ask sends a command and returns the answer.
func (c *talk) ask(command, what string) said {
	c.t.Helper()
	say(c.t, c.WebSocket, command)
	return c.expect(what)
}

func chat(b pubsub.Broker) *apps.WebSocketChat { return &apps.WebSocketChat{Broker: b, Rate: 1000} }

// TestWebSocketChatCountsMany has a room with more users than are told of each other.
func TestWebSocketChatCountsMany(t *testing.T) {
	const count = 1100
	b := &pubsub.Memory{}
	q := pubsub.NewQueue(pubsub.Limits{})
	for i := range count {
		sub, err := b.Subscribe(t.Context(), "chat/lobby", pubsub.Options{Queue: q, Member: pubsub.Member{ID: fmt.Sprint("m", i), Info: "x"}})
		if err != nil {
			t.Fatal(err)
		}
		defer sub.Close()
	}
	client := pagitest.Start(t, chat(b))
	ann := enter(t, client)
	bob := enter(t, client)
	for m := ann.expect("user_count"); m.Count != count+2 || m.Room != "lobby"; m = ann.expect("user_count") {
		if m.Count != count+1 {
			t.Fatalf("%+v", m)
		}
	}
	say(t, bob.WebSocket, `{"type":"list","room":"lobby"}`)
	for {
		var m said
		if err := bob.ReceiveJSON(&m); err != nil {
			t.Fatal(err)
		}
		if m.Type == "users" {
			if len(m.Users) != 1000 || m.Count != count+2 || m.Users[0].UserID != "m0" {
				t.Errorf("%d users of %d", len(m.Users), m.Count)
			}
			break
		}
	}
}

func TestWebSocketChatRooms(t *testing.T) {
	b := &pubsub.Memory{}
	client := pagitest.Start(t, chat(b))
	ann := enter(t, client)
	bob := enter(t, client)
	if m := ann.expect("user_joined"); m.Room != "lobby" || m.UserID != bob.id || m.Username != bob.name {
		t.Errorf("%+v", m)
	}
	say(t, ann.WebSocket, `{"type":"message","message":"hello <b>"}`)
	if m := bob.expect("message"); m.Message != "hello <b>" || m.Room != "lobby" || m.UserID != ann.id || m.Username != ann.name || m.Timestamp == 0 {
		t.Errorf("%+v", m)
	}
	if m := ann.ask(`{"type":"nick","username":"a n<n>_é-1"}`, "nick"); m.Username != "ann_é-1" {
		t.Errorf("%+v", m)
	}
	if m := bob.expect("user_nick"); m.UserID != ann.id || m.Username != "ann_é-1" || m.Room != "lobby" {
		t.Errorf("%+v", m)
	}
	if m := ann.ask(`{"type":"join","room":"go"}`, "joined"); m.Room != "go" {
		t.Errorf("%+v", m)
	}
	ann.ask(`{"type":"join","room":"go"}`, "joined") // once more does nothing
	bob.ask(`{"type":"join","room":"go"}`, "joined")
	ann.expect("user_joined")
	if m := bob.ask(`{"type":"rooms"}`, "rooms"); !slices.Equal(m.Rooms, []room{{"go", 2}, {"lobby", 2}}) {
		t.Errorf("%+v", m)
	}
	if m := bob.ask(`{"type":"list","room":"go"}`, "users"); !slices.Equal(m.Users, []member{{ann.id, "ann_é-1"}, {bob.id, bob.name}}) {
		t.Errorf("%+v", m)
	}
	if m := bob.ask(`{"type":"list","room":"empty"}`, "users"); m.Users == nil || len(m.Users) > 0 {
		t.Errorf("%+v", m)
	}
	say(t, bob.WebSocket, `{"message":"to all rooms"}`)
	if one, two := ann.expect("message"), ann.expect("message"); one.Room != "go" || two.Room != "lobby" {
		t.Errorf("%+v %+v", one, two)
	}
	if m := bob.ask(`{"type":"leave","room":"go"}`, "left"); m.Room != "go" {
		t.Errorf("%+v", m)
	}
	if m := ann.expect("user_left"); m.Room != "go" || m.UserID != bob.id {
		t.Errorf("%+v", m)
	}
	bob.ask(`{"type":"message","room":"go","message":"x"}`, "error")
	finish(t, bob.WebSocket)
	if m := ann.expect("user_left"); m.Room != "lobby" {
		t.Errorf("%+v", m)
	}
	finish(t, ann.WebSocket)
	testkit.Eventually(t, "the rooms are gone", func() bool {
		all, err := b.Channels(t.Context(), "")
		return err == nil && len(all) == 0
	})
}

func TestWebSocketChatPrivateMessages(t *testing.T) {
	b := &pubsub.Memory{}
	client := pagitest.Start(t, chat(b))
	ann, bob, joe := enter(t, client), enter(t, client), enter(t, client)
	ann.expect("user_joined")
	ann.expect("user_joined")
	bob.expect("user_joined")
	if m := ann.ask(`{"type":"private","to":"`+bob.id+`","message":"psst"}`, "sent"); m.To != bob.id {
		t.Errorf("%+v", m)
	}
	if m := bob.expect("private"); m.Message != "psst" || m.UserID != ann.id || m.Username != ann.name {
		t.Errorf("%+v", m)
	}
	bob.ask(`{"type":"private","to":"`+ann.name+`","message":"by name"}`, "sent")
	if m := ann.expect("private"); m.Message != "by name" {
		t.Errorf("%+v", m)
	}
	for _, to := range []string{"", "nobody", "000000000000", "lobby", ann.id + "x"} {
		if m := ann.ask(`{"type":"private","to":"`+to+`","message":"x"}`, "error"); m.Message != "No such user" {
			t.Errorf("%q: %+v", to, m)
		}
	}
	joe.ask(`{"type":"rooms"}`, "rooms") // nothing has come to joe
	finish(t, ann.WebSocket, bob.WebSocket, joe.WebSocket)
}

func TestWebSocketChatHistory(t *testing.T) {
	b := &pubsub.Memory{}
	app := chat(b)
	app.History, app.Channel = 2, "support"
	client := pagitest.Start(t, app)
	ann := enter(t, client)
	for i := range 3 {
		say(t, ann.WebSocket, fmt.Sprintf(`{"message":"%d"}`, i))
	}
	m := ann.ask(`{"type":"history","room":"lobby"}`, "history")
	if len(m.Messages) != 2 || m.Messages[0].Message != "1" || m.Messages[1].Message != "2" || m.Messages[1].UserID != ann.id {
		t.Errorf("%+v", m)
	}
	ann.ask(`{"type":"history","room":"other"}`, "error")
	subscribed(t, b, "support/lobby", 1)
	finish(t, ann.WebSocket)
	ann = enter(t, pagitest.New(chat(b)))
	if m := ann.ask(`{"type":"history","room":"lobby"}`, "history"); m.Messages == nil || len(m.Messages) != 0 {
		t.Errorf("%+v", m)
	}
	finish(t, ann.WebSocket)
}

func TestWebSocketChatRefuses(t *testing.T) {
	b := &pubsub.Memory{}
	app := chat(b)
	app.MaxRooms, app.MaxJoined, app.MaxMessage = 3, 2, 10
	client := pagitest.Start(t, app)
	ann, bob := enter(t, client), enter(t, client)
	ann.expect("user_joined")
	if m := bob.ask(`{"type":"nick","username":"bob"}`, "nick"); m.Username != "bob" {
		t.Errorf("%+v", m)
	}
	ann.expect("user_nick")
	bob.ask(`{"type":"join","room":"b1"}`, "joined")
	for _, c := range []struct{ command, want string }{
		{`no json`, "JSON"},
		{`[]`, "JSON"},
		{`{"type":"dance"}`, "Unknown type"},
		{`{"type":"message","message":" "}`, "empty"},
		{`{"type":"private","to":"bob"}`, "empty"},
		{`{"type":"message","message":"12345678901"}`, "too large"},
		{`{"type":"message","message":"x","more":"` + strings.Repeat("x", 2000) + `"}`, "too large"},
		{`{"type":"message","message":"x","room":"b1"}`, "Not in that room"},
		{`{"type":"leave","room":"b1"}`, "Not in that room"},
		{`{"type":"leave"}`, "Not in that room"},
		{`{"type":"join","room":"a/b"}`, "Bad name"},
		{`{"type":"join","room":" a"}`, "Bad name"},
		{`{"type":"join","room":"` + strings.Repeat("r", 51) + `"}`, "Bad name"},
		{`{"type":"list","room":"@"}`, "Bad name"},
		{`{"type":"nick","username":"<>"}`, "letters"},
		{`{"type":"nick","username":"b/o/b"}`, "taken"},
	} {
		if m := ann.ask(c.command, "error"); !strings.Contains(m.Message, c.want) {
			t.Errorf("%.60s: %q, want %q", c.command, m.Message, c.want)
		}
	}
	if err := ann.SendBytes([]byte("{}")); err != nil {
		t.Error(err)
	}
	ann.expect("error")
	ann.ask(`{"type":"join","room":"a1"}`, "joined")
	if m := ann.ask(`{"type":"join","room":"b1"}`, "error"); !strings.Contains(m.Message, "too many rooms") {
		t.Errorf("%+v", m)
	}
	ann.ask(`{"type":"leave","room":"lobby"}`, "left")
	bob.expect("user_left")
	if m := ann.ask(`{"type":"join","room":"a2"}`, "error"); m.Message != "Max rooms reached" {
		t.Errorf("%+v", m)
	}
	if m := ann.ask(`{"type":"join"}`, "joined"); m.Room != "lobby" {
		t.Errorf("%+v", m)
	}
	bob.expect("user_joined")
	if m := ann.ask(`{"type":"nick","username":"`+strings.Repeat("é", 30)+`"}`, "nick"); m.Username != strings.Repeat("é", 20) {
		t.Errorf("%+v", m)
	}
	finish(t, ann.WebSocket, bob.WebSocket)
	client.Get("/").Expect(t, http.StatusBadRequest)
}

func TestWebSocketChatLimitsTheRate(t *testing.T) {
	client := pagitest.New(&apps.WebSocketChat{Broker: &pubsub.Memory{}, Rate: 1})
	ann := enter(t, client)
	for range 4 {
		ann.ask(`{"type":"rooms"}`, "rooms")
	}
	if m := ann.ask(`{"type":"rooms"}`, "error"); m.Message != "Too many messages" {
		t.Errorf("%+v", m)
	}
	finish(t, ann.WebSocket)
}

func TestWebSocketChatNamesUsers(t *testing.T) {
	app := chat(&pubsub.Memory{})
	app.DefaultRoom = "hall"
	app.Name = func(scope *pagi.Scope) string { return strings.TrimPrefix(scope.QueryString, "user=") }
	client := pagitest.New(app)
	ann := &talk{t: t, WebSocket: connect(t, client, "/?user=ann")}
	if m := ann.expect("welcome"); m.Username != "ann" || m.Room != "hall" {
		t.Errorf("%+v", m)
	}
	if m := ann.ask(`{"type":"nick","username":"eve"}`, "error"); !strings.Contains(m.Message, "given") {
		t.Errorf("%+v", m)
	}
	bob := &talk{t: t, WebSocket: connect(t, pagitest.New(chat(&pubsub.Memory{})), "/", pagitest.Edit(func(s *pagi.Scope) {
		*s = *s.With(pagi.AuthKey, pagi.Auth{Type: "basic", Username: "bob@example.org"})
	}))}
	if m := bob.expect("welcome"); m.Username != "bob@example.org" {
		t.Errorf("%+v", m)
	}
	bob.ask(`{"type":"nick","username":"ann"}`, "error")
	finish(t, bob.WebSocket)
	guest := enter(t, client)
	guest.ask(`{"type":"nick","username":"eve"}`, "nick")
	finish(t, ann.WebSocket, guest.WebSocket)
}

func TestWebSocketChatChecks(t *testing.T) {
	for name, wrong := range map[string]*apps.WebSocketChat{
		"default_room": {DefaultRoom: "a/b"},
		"channel":      {Channel: strings.Repeat("x", 51)},
		"max_rooms":    {MaxRooms: -1},
		"max_joined":   {MaxJoined: -1},
		"max_message":  {MaxMessage: -1},
		"rate":         {Rate: -1},
		"history":      {History: -1},
		"slow":         {Buffer: apps.Buffer{Slow: "x"}},
	} {
		var bad *pagi.OptionError
		if err := wrong.Check(); !errors.As(err, &bad) || bad.Option != name {
			t.Errorf("%s: %v", name, err)
		}
		if pagitest.New(wrong).Startup(t.Context()) == nil {
			t.Errorf("%s: it starts", name)
		}
	}
}

// TestWebSocketChatWithoutRoom has one room for two users: the second is welcomed without one.
func TestWebSocketChatWithoutRoom(t *testing.T) {
	b := &pubsub.Memory{}
	app := chat(b)
	app.MaxRooms = 1
	client := pagitest.New(app)
	ann := enter(t, client)
	ann.ask(`{"type":"join","room":"other"}`, "error")
	finish(t, ann.WebSocket)
	subscribed(t, b, "chat/lobby", 0)
	s, err := b.Subscribe(t.Context(), "chat/other", pubsub.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	bob := &talk{t: t, WebSocket: connect(t, client, "/")}
	if m := bob.expect("welcome"); m.Room != "" {
		t.Errorf("%+v", m)
	}
	finish(t, bob.WebSocket)
}

// TestWebSocketChatChurn has users that come, talk and leave beside one another; nothing may be
// left.
func TestWebSocketChatChurn(t *testing.T) {
	b := &pubsub.Memory{}
	app := chat(b)
	var wg sync.WaitGroup
	for p := range 8 {
		wg.Go(func() {
			for i := range 5 {
				ws := pagitest.New(app).WebSocket("/")
				for _, command := range []string{`{"message":"x"}`, fmt.Sprintf(`{"type":"join","room":"r%d"}`, i%2), fmt.Sprintf(`{"type":"nick","username":"u%d"}`, p), `{"message":"y"}`, `{"type":"rooms"}`} {
					if err := ws.SendText(command); err != nil {
						t.Error(err)
					}
				}
				for {
					var m said
					if err := ws.ReceiveJSON(&m); err != nil {
						t.Error(err)
						break
					}
					if m.Type == "rooms" {
						break
					}
				}
				if err := ws.Finish(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if all, err := b.Channels(t.Context(), ""); err != nil || len(all) != 0 {
		t.Errorf("%v %v", all, err)
	}
}

// TestNoGoroutineIsLeft ends all kinds of clients in a bubble, which fails where a goroutine stays.
func TestNoGoroutineIsLeft(t *testing.T) {
	pagitest.InMemory(t, "a bubble has no sockets")
	synctest.Test(t, func(t *testing.T) {
		b := &pubsub.Memory{}
		for _, app := range []pagi.App{&apps.WebSocketBroadcast{Feed: apps.Feed{Broker: b}}, chat(b), &apps.WebSocketEcho{}} {
			client := pagitest.New(app)
			one, two := client.WebSocket("/"), client.WebSocket("/")
			_ = one.SendText(`{"message":"x"}`)
			one.Disconnect(pagi.ReasonClientClosed)
			_ = two.Close(1000, "")
			finish(t, one, two)
		}
		client := pagitest.New(&apps.SSEPubsub{Feed: apps.Feed{Broker: b}})
		leave(t, client.Events("/"))
		synctest.Wait()
		if all, err := b.Channels(context.Background(), ""); err != nil || len(all) != 0 {
			t.Errorf("%v %v", all, err)
		}
	})
}
