package apps_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
	"github.com/pagi-go/pagi-bridge/pagi/sse"
)

func ExampleSSEPubsub() {
	broker := &pubsub.Memory{}
	app := &apps.SSEPubsub{Feed: apps.Feed{Channel: "news", History: 10, Broker: broker}}
	err := pagitest.Run(context.Background(), app, func(client *pagitest.Client) error {
		ctx := context.Background()
		first, err := broker.Publish(ctx, "news", pubsub.Message{Data: "seen already"})
		if err != nil {
			return err
		}
		if _, err := broker.Publish(ctx, "news", pubsub.Message{Name: "headline", Data: "It works"}); err != nil {
			return err
		}
		stream := client.Events("/", pagitest.Header("last-event-id", first))
		event, ok := stream.Next()
		fmt.Println(event.Event, event.Data, ok)
		stream.Disconnect(pagi.ReasonClientClosed)
		return stream.Finish().Err
	})
	fmt.Println(err)
	// Output:
	// headline It works true
	// <nil>
}

func send(t *testing.T, b pubsub.Broker, channel string, m pubsub.Message) string {
	t.Helper()
	id, err := b.Publish(t.Context(), channel, m)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// subscribed waits until a channel has n subscribers.
func subscribed(t *testing.T, b pubsub.Broker, channel string, n int) {
	t.Helper()
	testkit.Eventually(t, fmt.Sprintf("%d subscribers of %s", n, channel), func() bool {
		all, err := b.Channels(t.Context(), channel)
		if err != nil {
			t.Fatal(err)
		}
		return n == 0 && len(all) == 0 || len(all) > 0 && all[0].Name == channel && all[0].Subscribers == n
	})
}

func nextEvent(t *testing.T, stream *pagitest.EventStream) pagitest.ServerEvent {
	t.Helper()
	ev, ok := stream.Next()
	if !ok {
		t.Fatal("the stream has ended")
	}
	return ev
}

func leave(t *testing.T, stream *pagitest.EventStream) *pagitest.Response {
	t.Helper()
	stream.Disconnect(pagi.ReasonClientClosed)
	res := stream.Finish()
	if res.Err != nil {
		t.Error(res.Err)
	}
	return res
}

func TestSSEPubsubSendsWhatIsPublished(t *testing.T) {
	b := &pubsub.Memory{}
	var hooks []string
	app := &apps.SSEPubsub{
		Feed:      apps.Feed{Broker: b},
		Retry:     3 * time.Second,
		Headers:   map[string]string{"X-Stream": "1", "x-other": "2"},
		OnConnect: func(scope *pagi.Scope, channel string) { hooks = append(hooks, "connect "+scope.Path+" "+channel) },
		OnClose:   func(scope *pagi.Scope, channel string) { hooks = append(hooks, "close "+scope.Path+" "+channel) },
	}
	client := pagitest.Start(t, app)
	stream := client.Events("/events", pagitest.Header("last-event-id", "ignored"))
	subscribed(t, b, "default", 1)
	id := send(t, b, "default", pubsub.Message{Name: "tick", Data: "two\nlines"})
	if got, want := nextEvent(t, stream), (pagitest.ServerEvent{Event: "tick", Data: "two\nlines", ID: id, Retry: 3 * time.Second}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	send(t, b, "default", pubsub.Message{Data: "\x00\xff", Binary: true})
	if got := nextEvent(t, stream); got.Event != "message" || got.Data != "AP8=" {
		t.Errorf("got %+v", got)
	}
	res := leave(t, stream)
	if res.Status != 200 || res.Header("x-stream") != "1" || res.Header("x-other") != "2" {
		t.Errorf("%d %v", res.Status, res.Headers)
	}
	subscribed(t, b, "default", 0)
	if want := []string{"connect /events default", "close /events default"}; !slices.Equal(hooks, want) {
		t.Errorf("hooks %q, want %q", hooks, want)
	}
}

func TestSSEPubsubReplays(t *testing.T) {
	for _, c := range []struct {
		name string
		last func(ids []string) string
		want []string
	}{
		{"a client that has all gets nothing", func(ids []string) string { return ids[5] }, nil},
		{"a client gets what it has missed", func(ids []string) string { return ids[3] }, []string{"4", "5"}},
		{"all that is kept", func(ids []string) string { return ids[2] }, []string{"3", "4", "5"}},
		{"a client is told that messages are gone", func(ids []string) string { return ids[1] }, []string{"missed news", "3", "4", "5"}},
		{"an id that is not known", func([]string) string { return "x" }, []string{"missed news", "3", "4", "5"}},
		{"a client that is new gets nothing", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &pubsub.Memory{}
			client := pagitest.Start(t, &apps.SSEPubsub{Feed: apps.Feed{Channel: "news", History: 3, Broker: b}})
			var ids []string
			for i := range 6 { // before the first client
				ids = append(ids, send(t, b, "news", pubsub.Message{Data: fmt.Sprint(i)}))
			}
			var opts []pagitest.Option
			if c.last != nil {
				opts = append(opts, pagitest.Header("last-event-id", c.last(ids)))
			}
			stream := client.Events("/", opts...)
			subscribed(t, b, "news", 1)
			send(t, b, "news", pubsub.Message{Data: "end"})
			for _, want := range append(c.want, "end") {
				ev := nextEvent(t, stream)
				got := ev.Data
				if ev.Event == apps.EventMissed {
					got = "missed " + got
				}
				if got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			}
			leave(t, stream)
		})
	}
}

func TestSSEPubsubRefuses(t *testing.T) {
	b := &pubsub.Memory{}
	client := pagitest.New(&apps.SSEPubsub{Feed: apps.Feed{Broker: b}})
	client.Get("/").Expect(t, http.StatusNotAcceptable, "text/event-stream")
	if res := client.Post("/").Expect(t, http.StatusMethodNotAllowed); res.Header("allow") != "GET" {
		t.Errorf("allow %q", res.Header("allow"))
	}
	client.Do("POST", "/", pagitest.AcceptEvents()).Expect(t, http.StatusMethodNotAllowed)
	ws := client.WebSocket("/")
	if ws.Accepted || ws.Response.Status != http.StatusNotFound && ws.Response.Status != http.StatusForbidden {
		t.Errorf("a WebSocket: %+v", ws.Response)
	}
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
	for name, wrong := range map[string]*apps.SSEPubsub{
		"channel":         {Feed: apps.Feed{Channel: "a\n"}},
		"history":         {Feed: apps.Feed{History: -1}},
		"history_age":     {Feed: apps.Feed{HistoryAge: -1}},
		"secrets":         {Feed: apps.Feed{Secrets: []string{"short"}}},
		"retry":           {Retry: -1},
		"headers":         {Headers: map[string]string{"x": "a\nb"}},
		"buffer_messages": {Feed: apps.Feed{Buffer: apps.Buffer{Messages: -1}}},
		"buffer_bytes":    {Feed: apps.Feed{Buffer: apps.Buffer{Bytes: -1}}},
		"slow":            {Feed: apps.Feed{Buffer: apps.Buffer{Slow: "wait"}}},
	} {
		var bad *pagi.OptionError
		if err := wrong.Check(); !errors.As(err, &bad) || bad.Option != name {
			t.Errorf("%s: %v", name, err)
		}
		if err := pagitest.New(wrong).Startup(t.Context()); err == nil {
			t.Errorf("%s: it starts", name)
		}
		if res := pagitest.New(wrong).Events("/").Finish(); res.Status != 500 {
			t.Errorf("%s: status %d", name, res.Status)
		}
	}
	twice := &apps.SSEPubsub{Feed: apps.Feed{Channel: "all*", Secrets: []string{secret, secret}}}
	if err := twice.Check(); err == nil || !strings.Contains(err.Error(), "twice") || !strings.Contains(err.Error(), "channel") {
		t.Error(err)
	}
}

func TestSSEPubsubEndsWithItsBroker(t *testing.T) {
	b := &pubsub.Memory{}
	stream := pagitest.New(&apps.SSEPubsub{Feed: apps.Feed{Broker: b}}).Events("/")
	subscribed(t, b, "default", 1)
	send(t, b, "default", pubsub.Message{Data: "last"})
	b.Close()
	if ev := nextEvent(t, stream); ev.Data != "last" {
		t.Errorf("%+v", ev)
	}
	if _, ok := stream.Next(); ok {
		t.Error("the stream goes on")
	}
	if res := stream.Finish(); res.Err != nil {
		t.Error(res.Err)
	}
}

func TestSSEPubsubShedsAClientThatDoesNotRead(t *testing.T) {
	b := &pubsub.Memory{}
	app := &apps.SSEPubsub{Feed: apps.Feed{Broker: b, Buffer: apps.Buffer{Messages: 4, Slow: "close"}}}
	stream := pagitest.New(app).Events("/", pagitest.SlowReader(1000, 100))
	subscribed(t, b, "default", 1)
	for range 20 {
		send(t, b, "default", pubsub.Message{Data: strings.Repeat("x", 500)})
	}
	subscribed(t, b, "default", 0) // although the client does not read
	if res := stream.Finish(); res.Err != nil || len(res.Body) > 10*600 {
		t.Errorf("%v, %d bytes", res.Err, len(res.Body))
	}
}

const secret = "0123456789abcdef0123456789abcdef"

func TestFeedNeedsAToken(t *testing.T) {
	b := &pubsub.Memory{}
	other := strings.Repeat("x", 32)
	app := &apps.SSEPubsub{Feed: apps.Feed{Channel: "news", ByPath: true, Secrets: []string{other, secret}, Broker: b}}
	client := pagitest.New(app)
	soon := time.Now().Add(time.Minute)
	good := apps.SubscribeToken(secret, "news/sport", soon)
	for name, token := range map[string]string{
		"no token":                  "",
		"a token of another secret": apps.SubscribeToken(strings.Repeat("y", 32), "news/sport", soon),
		"a token that is too old":   apps.SubscribeToken(secret, "news/sport", time.Now().Add(-time.Second)),
		"a token of another":        apps.SubscribeToken(secret, "news/other", soon),
		"a token that is changed":   good[:len(good)-1],
		"no token at all":           "x",
	} {
		if res := client.Events("/sport", pagitest.Query("token", token)).Finish(); res.Status != http.StatusForbidden || res.Err != nil {
			t.Errorf("%s: %d %v", name, res.Status, res.Err)
		}
	}
	for _, token := range []string{good, apps.SubscribeToken(other, "news/sport", soon)} {
		stream := client.Events("/sport", pagitest.Query("token", token))
		subscribed(t, b, "news/sport", 1)
		send(t, b, "news/sport", pubsub.Message{Data: "x"})
		nextEvent(t, stream)
		leave(t, stream)
		subscribed(t, b, "news/sport", 0)
	}
}

// TestSubscribeTokenInPerl runs the code that docs/site.md shows.
func TestSubscribeTokenInPerl(t *testing.T) {
	perl := testkit.Tool(t, "perl", "perl")
	page, err := exec.Command("cat", "../docs/site.md").Output()
	if err != nil {
		t.Fatal(err)
	}
	_, code, found := strings.Cut(string(page), "```perl\nuse Digest::SHA")
	code, _, closed := strings.Cut(code, "```")
	if !found || !closed {
		t.Fatal("docs/site.md does not show how to make a token")
	}
	expires := time.Now().Add(time.Hour)
	code = "use Digest::SHA" + code + "\nprint subscribe_token($ARGV[0], $ARGV[1], $ARGV[2]);"
	out, err := exec.Command(perl, "-e", code, secret, "news/sport", strconv.FormatInt(expires.Unix(), 10)).CombinedOutput()
	if want := apps.SubscribeToken(secret, "news/sport", expires); err != nil || string(out) != want {
		t.Errorf("%v: got %s, want %s", err, out, want)
	}
}

func TestFeedByPath(t *testing.T) {
	for _, c := range []struct{ channel, path, want string }{
		{"news", "/sport", "news/sport"},
		{"news", "/sport/", "news/sport"},
		{"", "/sport/football", "sport/football"},
		{"news", "/", ""},
		{"news", "", ""},
		{"", "/" + strings.Repeat("x", 201), ""},
		{"", "/a%0Ab", ""},
	} {
		b := &pubsub.Memory{}
		client := pagitest.Start(t, &apps.SSEPubsub{Feed: apps.Feed{Channel: c.channel, ByPath: true, History: 5, Broker: b}})
		stream := client.Events("/", pagitest.Edit(func(s *pagi.Scope) {
			s.Path = strings.ReplaceAll(c.path, "%0A", "\n")
		}))
		if c.want == "" {
			if res := stream.Finish(); res.Status != http.StatusNotFound {
				t.Errorf("%q: %d", c.path, res.Status)
			}
			continue
		}
		subscribed(t, b, c.want, 1)
		leave(t, stream)
	}
}

func TestFeedAsks(t *testing.T) {
	failed := errors.New("the database is gone")
	app := &apps.SSEPubsub{Feed: apps.Feed{Broker: &pubsub.Memory{MaxChannels: 1}, ByPath: true, Authorize: func(_ context.Context, scope *pagi.Scope, channel string) error {
		switch channel {
		case "closed":
			return &pagi.StatusError{Status: http.StatusPaymentRequired, Message: "Pay first.", Headers: pagi.NewHeaders("x-price", "1")}
		case "broken":
			return failed
		}
		return nil
	}}}
	client := pagitest.New(app)
	if res := client.Events("/closed").Finish(); res.Err != nil || res.Status != 402 || res.Header("x-price") != "1" || res.Text() != "Pay first.\n" {
		t.Errorf("%v %d %q", res.Err, res.Status, res.Text())
	}
	if res := client.Events("/broken").Finish(); res.Status != 500 {
		t.Errorf("%d", res.Status)
	}
	stream := client.Events("/one")
	subscribed(t, app.Broker, "one", 1)
	if res := client.Events("/two").Finish(); res.Status != http.StatusServiceUnavailable {
		t.Errorf("a channel too many: %d", res.Status)
	}
	leave(t, stream)
}

func ExampleSSEStream() {
	app := &apps.SSEStream{Events: func(context.Context, *pagi.Scope) iter.Seq2[sse.Event, error] {
		return func(yield func(sse.Event, error) bool) {
			for i := range 3 {
				if !yield(sse.Event{Data: strconv.Itoa(i)}, nil) {
					return
				}
			}
		}
	}}
	stream := pagitest.New(app).Events("/")
	for ev, ok := stream.Next(); ok; ev, ok = stream.Next() {
		fmt.Println(ev.Data)
	}
	fmt.Println(stream.Finish().Err)
	// Output:
	// 0
	// 1
	// 2
	// <nil>
}

func TestSSEStream(t *testing.T) {
	failed := errors.New("failed")
	var hooks []string
	stopped := make(chan error, 9)
	app := &apps.SSEStream{
		Retry:     time.Second,
		Headers:   map[string]string{"X-Stream": "1"},
		OnConnect: func(scope *pagi.Scope) { hooks = append(hooks, "connect "+scope.Path) },
		OnClose:   func(scope *pagi.Scope) { hooks = append(hooks, "close "+scope.Path) },
		Events: func(ctx context.Context, scope *pagi.Scope) iter.Seq2[sse.Event, error] {
			return func(yield func(sse.Event, error) bool) {
				defer func() { stopped <- ctx.Err() }()
				if !yield(sse.Event{Name: "path", Data: scope.Path}, nil) {
					return
				}
				switch scope.Path {
				case "/fails":
					yield(sse.Event{}, failed)
				case "/waits":
					<-ctx.Done()
				}
			}
		},
	}
	client := pagitest.Start(t, app)
	stream := client.Events("/ends")
	if ev := nextEvent(t, stream); ev != (pagitest.ServerEvent{Event: "path", Data: "/ends", Retry: time.Second}) {
		t.Errorf("%+v", ev)
	}
	if res := stream.Finish(); res.Err != nil || res.Header("x-stream") != "1" {
		t.Errorf("%v %v", res.Err, res.Headers)
	}
	testkit.Await(t, stopped)
	stream = client.Events("/waits")
	nextEvent(t, stream)
	leave(t, stream)
	if testkit.Await(t, stopped) == nil {
		t.Error("the generator is not stopped")
	}
	if res := client.Events("/fails").Finish(); res.Err == nil {
		t.Error("an error of the generator is lost")
	}
	if want := []string{"connect /ends", "close /ends", "connect /waits", "close /waits", "connect /fails", "close /fails"}; !slices.Equal(hooks, want) {
		t.Errorf("hooks %q", hooks)
	}
	client.Get("/").Expect(t, http.StatusNotAcceptable)
	var bad *pagi.OptionError
	wrong := &apps.SSEStream{}
	if err := wrong.Check(); !errors.As(err, &bad) || bad.Option != "events" {
		t.Error(err)
	}
	if pagitest.New(wrong).Startup(t.Context()) == nil || pagitest.New(wrong).Events("/").Finish().Status != 500 {
		t.Error("it serves without a generator")
	}
}
