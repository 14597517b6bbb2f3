package command

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
)

func TestHubPublishesWhatIsPosted(t *testing.T) {
	broker := &pubsub.Memory{}
	sub, err := broker.Subscribe(t.Context(), "news/été", pubsub.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	for _, c := range []struct {
		name, method, path, body string
		headers                  map[string]string
		status                   int
		want                     pubsub.Message
	}{
		{"a text", "POST", "/news/%C3%A9t%C3%A9", "hé\nllo", nil, 200, pubsub.Message{Data: "hé\nllo"}},
		{"a named event", "POST", "/news/été", "x", map[string]string{"X-Event": "tick"}, 200, pubsub.Message{Data: "x", Name: "tick"}},
		{"a binary message", "POST", "/news/été", "\xff", map[string]string{"Content-Type": "application/octet-stream"}, 200, pubsub.Message{Data: "\xff", Binary: true}},
		{"an empty one", "POST", "/news/été", "", nil, 200, pubsub.Message{}},
		{"text that is not UTF-8", "POST", "/news/été", "\xff", nil, 400, pubsub.Message{}},
		{"no channel", "POST", "/", "x", nil, 400, pubsub.Message{}},
		{"a channel with a line end", "POST", "/a%0Ab", "x", nil, 400, pubsub.Message{}},
		{"a name that is too long", "POST", "/c", "x", map[string]string{"X-Event": strings.Repeat("x", 300)}, 400, pubsub.Message{}},
		{"the largest message", "POST", "/news/été", strings.Repeat("x", 64<<10), nil, 200, pubsub.Message{Data: strings.Repeat("x", 64<<10)}},
		{"one that is larger", "POST", "/news/été", strings.Repeat("x", 64<<10+1), nil, 413, pubsub.Message{}},
		{"another method", "GET", "/news/été", "", nil, 405, pubsub.Message{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), c.method, c.path, strings.NewReader(c.body))
			for name, value := range c.headers {
				r.Header.Set(name, value)
			}
			w := httptest.NewRecorder()
			hubHandler(func() pubsub.Broker { return broker })(w, r)
			if w.Code != c.status {
				t.Fatalf("%d %s", w.Code, w.Body)
			}
			if c.status != http.StatusOK {
				return
			}
			got, err := sub.Next(t.Context())
			if id := strings.TrimSpace(w.Body.String()); err != nil || got.ID != id || id == "" {
				t.Errorf("%v, id %q, answered %q", err, got.ID, id)
			}
			if got.Data != c.want.Data || got.Name != c.want.Name || got.Binary != c.want.Binary {
				t.Errorf("%+v", got)
			}
		})
	}
	broker.Close()
	w := httptest.NewRecorder()
	hubHandler(func() pubsub.Broker { return broker })(w, httptest.NewRequestWithContext(context.Background(), "POST", "/c", nil))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("a closed broker: %d", w.Code)
	}
}
