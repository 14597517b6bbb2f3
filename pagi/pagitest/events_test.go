package pagitest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// sse makes an application that answers sse scopes.
func sse(f func(ctx context.Context, receive pagi.Receive, send func(...pagi.Event) error) error) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Type != pagi.TypeSSE || scope.Connection != nil || scope.HasExtension(pagi.ExtInformational) {
			return fmt.Errorf("scope %+v", scope)
		}
		return f(ctx, receive, func(events ...pagi.Event) error {
			for _, ev := range events {
				if err := send(ctx, ev); err != nil {
					return err
				}
			}
			return nil
		})
	})
}

func TestEventsAreRead(t *testing.T) {
	stream := pagitest.New(sse(func(ctx context.Context, receive pagi.Receive, send func(...pagi.Event) error) error {
		return send(pagi.SSEStart{Headers: pagi.NewHeaders("x-a", "b")},
			pagi.SSEComment{Comment: "hello"},
			pagi.SSESend{Event: "tick", ID: "1", Data: "a\nb", Retry: time.Second},
			pagi.SSEKeepalive{Interval: time.Second},
			pagi.SSESend{Data: "second"},
			pagi.HTTPFullFlush{},
			pagi.SSEClose{Reason: "done"})
	})).Events("/events")
	want := []pagitest.ServerEvent{
		{Event: "tick", ID: "1", Data: "a\nb", Retry: time.Second},
		{Event: "message", ID: "1", Data: "second", Retry: time.Second},
	}
	var got []pagitest.ServerEvent
	for e, ok := stream.Next(); ok; e, ok = stream.Next() {
		got = append(got, e)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	res := stream.Finish()
	if res.Err != nil || res.Status != 200 || res.Header("content-type") != "text/event-stream" || res.Header("cache-control") != "no-cache" ||
		res.Header("x-a") != "b" || res.Text() != ":hello\n\nevent: tick\nid: 1\nretry: 1000\ndata: a\ndata: b\n\ndata: second\n\n" || len(res.Events) != 7 {
		t.Errorf("%+v", res)
	}
	if diff := cmp.Diff([]string{"hello"}, stream.Comments); diff != "" {
		t.Error(diff)
	}
}

func TestDataOfAnEvent(t *testing.T) {
	var got []int
	if err := (pagitest.ServerEvent{Data: "[1,\n2]"}).JSON(&got); err != nil || len(got) != 2 {
		t.Errorf("%v, %v", got, err)
	}
	if err := (pagitest.ServerEvent{Data: "x"}).JSON(&got); err == nil || !strings.Contains(err.Error(), `"x"`) {
		t.Error(err)
	}
}

func TestEventsOfAnOrdinaryResponseAreRead(t *testing.T) {
	for _, scope := range []string{pagi.TypeHTTP, pagi.TypeSSE} {
		client := pagitest.New(pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
			var events []pagi.Event
			pieces := []string{"da", "ta: a\r", "\n\r\nid: 5\rid: x\x00y\rdata\r\r: note\nretry: no\nunknown: 1\n\ndata:b\ndata: c", "\n\nevent: dropped\n\ndata: no end\n"}
			if s.Type == pagi.TypeSSE {
				events = append(events, pagi.SSEHTTPResponseStart{Status: 200})
				for _, p := range pieces {
					events = append(events, pagi.SSEHTTPResponseBody{Body: []byte(p), More: true})
				}
				events = append(events, pagi.SSEHTTPResponseBody{})
			} else {
				events = append(events, pagi.HTTPResponseStart{Status: 200})
				for _, p := range pieces {
					events = append(events, pagi.HTTPResponseBody{Body: []byte(p), More: true})
				}
				events = append(events, pagi.HTTPResponseBody{})
			}
			for _, ev := range events {
				if err := send(ctx, ev); err != nil {
					return err
				}
			}
			return nil
		}))
		stream := client.Begin("GET", "/").Events()
		if scope == pagi.TypeSSE {
			stream = client.Events("/")
		}
		var got []pagitest.ServerEvent
		for e, ok := stream.Next(); ok; e, ok = stream.Next() {
			got = append(got, e)
		}
		want := []pagitest.ServerEvent{{Event: "message", Data: "a"}, {Event: "message", Data: "", ID: "5"}, {Event: "message", Data: "b\nc", ID: "5"}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", scope, diff)
		}
		if res := stream.Finish(); res.Err != nil || stream.Exchange.Scope.Type != scope {
			t.Errorf("%s: %+v", scope, res)
		}
	}
}

func TestEventStreamWithABody(t *testing.T) {
	client := pagitest.New(sse(func(ctx context.Context, receive pagi.Receive, send func(...pagi.Event) error) error {
		ev, err := receive(ctx)
		body, is := ev.(pagi.SSERequest)
		if !is || err != nil {
			return fmt.Errorf("received %v, %w", ev, err)
		}
		return send(pagi.SSEStart{}, pagi.SSESend{Data: string(body.Body)})
	}))
	res := client.Post("/", pagitest.AcceptEvents(), pagitest.Body("question"))
	if res.Err != nil || res.Text() != "data: question\n\n" {
		t.Errorf("%+v", res)
	}
}

func TestEventStreamOrder(t *testing.T) {
	for _, tt := range []struct {
		name   string
		events []pagi.Event
		err    string
	}{
		{"an event first", []pagi.Event{pagi.SSESend{}}, "must come first"},
		{"two starts", []pagi.Event{pagi.SSEStart{}, pagi.SSEStart{}}, "started already"},
		{"a response after the start", []pagi.Event{pagi.SSEStart{}, pagi.SSEHTTPResponseStart{Status: 404}}, "can no longer be declined"},
		{"a body without a response", []pagi.Event{pagi.SSEHTTPResponseBody{}}, "must come first"},
		{"an event after a response", []pagi.Event{pagi.SSEHTTPResponseStart{Status: 404}, pagi.SSESend{}}, "answered"},
		{"an event after the close", []pagi.Event{pagi.SSEStart{}, pagi.SSEClose{}, pagi.SSESend{}}, "closed"},
		{"two closes", []pagi.Event{pagi.SSEStart{}, pagi.SSEClose{}, pagi.SSEClose{}}, ""},
		{"a bad field", []pagi.Event{pagi.SSEStart{}, pagi.SSESend{ID: "\n"}}, "'id'"},
		{"an http event", []pagi.Event{pagi.HTTPResponseStart{Status: 200}}, "not an event"},
		{"a response too short", []pagi.Event{pagi.SSEHTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-length", "3")}, pagi.SSEHTTPResponseBody{}}, "less than"},
		{"an incomplete response", []pagi.Event{pagi.SSEHTTPResponseStart{Status: 200}}, "before its response was complete"},
		{"nothing", nil, "without a response"},
		{"a response", []pagi.Event{pagi.SSEHTTPResponseStart{Status: 404}, pagi.SSEHTTPResponseBody{Body: []byte("x")}}, ""},
	} {
		res := pagitest.New(sse(func(_ context.Context, _ pagi.Receive, send func(...pagi.Event) error) error {
			return send(tt.events...)
		})).Get("/", pagitest.AcceptEvents())
		if (res.Err == nil) != (tt.err == "") || res.Err != nil && !strings.Contains(res.Err.Error(), tt.err) {
			t.Errorf("%s: %v", tt.name, res.Err)
		}
	}
}

func TestEventStreamEnds(t *testing.T) {
	for _, tt := range []struct {
		name   string
		events []pagi.Event
		then   func(*pagitest.EventStream)
		want   pagi.Event // nil: an error
	}{
		{"the client leaves", []pagi.Event{pagi.SSEStart{}, pagi.SSESend{}}, func(s *pagitest.EventStream) {
			s.Next()
			s.Disconnect(pagi.ReasonWriteTimeout)
		}, pagi.SSEDisconnect{Reason: lost(pagi.ReasonWriteTimeout)}},
		{"the application closes without a reason", []pagi.Event{pagi.SSEStart{}, pagi.SSEClose{}}, func(*pagitest.EventStream) {}, pagi.SSEDisconnect{Reason: pagi.ReasonClientClosed}},
		{"the application closes", []pagi.Event{pagi.SSEStart{}, pagi.SSEClose{Reason: "enough"}}, func(*pagitest.EventStream) {}, pagi.SSEDisconnect{Reason: "enough"}},
		{"the application declines", []pagi.Event{pagi.SSEHTTPResponseStart{Status: 204}, pagi.SSEHTTPResponseBody{}}, func(*pagitest.EventStream) {}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			stream := pagitest.New(sse(func(ctx context.Context, receive pagi.Receive, send func(...pagi.Event) error) error {
				if _, err := receive(ctx); err != nil { // the body
					return err
				}
				if err := send(tt.events...); err != nil {
					return err
				}
				ev, err := receive(ctx)
				if ev != tt.want || (err == nil) != (tt.want != nil) {
					return fmt.Errorf("received %v, %w", ev, errors.Join(err, errors.New("not what was to come")))
				}
				return nil
			})).Events("/")
			tt.then(stream)
			begin := time.Now()
			if res := stream.Finish(); res.Err != nil {
				t.Error(res.Err)
			}
			if time.Since(begin) > pagitest.DefaultTimeout/2 {
				t.Error("it ended by the timeout")
			}
		})
	}
}

// What an application sends, a browser dispatches; and whatever an ordinary response has for an event
// stream, reading it comes to an end.
func FuzzEventStreams(f *testing.F) {
	f.Add("data: x\n\n", "tick", "a\nb", "1")
	f.Add("\xef\xbb\xbfid: 1\r\rdata\r\n\r\n:c\nretry: 1\n\n", "", "", "")
	f.Add("event: x\ndata", "e", "\r\n", "")
	f.Fuzz(func(t *testing.T, raw, name, data, id string) {
		sent := pagi.SSESend{Event: name, Data: data, ID: id}
		app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
			var events []pagi.Event
			if scope.Path == "/raw" {
				events = []pagi.Event{pagi.SSEHTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-type", "text/event-stream")}, pagi.SSEHTTPResponseBody{Body: []byte(raw)}}
			} else {
				events = []pagi.Event{pagi.SSEStart{}, sent, pagi.SSEClose{}}
			}
			for _, ev := range events {
				if err := send(ctx, ev); err != nil {
					return err
				}
			}
			return nil
		})
		client := pagitest.New(app)
		stream := client.Events("/raw")
		for _, ok := stream.Next(); ok; _, ok = stream.Next() {
		}
		stream.Finish()
		if pagi.Validate(pagi.TypeSSE, sent) != nil {
			return
		}
		stream = client.Events("/sent")
		got, ok := stream.Next()
		stream.Finish()
		want := strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(data)
		if name == "" {
			name = "message"
		}
		if !ok || got.Data != want || got.Event != name || got.ID != id {
			t.Errorf("%+v arrives as %+v, %v", sent, got, ok)
		}
	})
}
