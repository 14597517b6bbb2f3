package engine_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// getEvents is a request for an event stream.
const getEvents = "GET /events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n"

func (c *call) event(data string) error { return c.send(c.ctx, pagi.SSESend{Data: data}) }
func (c *call) open() error             { return c.send(c.ctx, pagi.SSEStart{}) }

// onBoth runs a test over HTTP/1.1 and over HTTP/2.
func onBoth(t *testing.T, f func(t *testing.T, serve func(engine.Handler, func(*call) error) *fixture)) {
	t.Helper()
	t.Run("HTTP/1.1", func(t *testing.T) {
		t.Parallel()
		f(t, func(h engine.Handler, app func(*call) error) *fixture { return serve(t, h, app) })
	})
	t.Run("HTTP/2", func(t *testing.T) {
		t.Parallel()
		f(t, func(h engine.Handler, app func(*call) error) *fixture {
			return start(t, h, app, func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() })
		})
	})
}

// client returns one that speaks HTTP/2 where the fixture does.
func (x *fixture) client() *http.Client {
	if x.srv.TLS != nil || x.srv.Config.Protocols != nil {
		return x.srv.Client()
	}
	return &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
}

// stream is the client's side of an event stream.
type stream struct {
	t      *testing.T
	res    *http.Response
	lines  *bufio.Reader
	cancel context.CancelFunc
}

// events asks for an event stream and returns when its head has come.
func (x *fixture) events(method string, body io.Reader) *stream {
	x.t.Helper()
	ctx, cancel := context.WithCancel(x.t.Context())
	x.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, method, x.url+"/events", body)
	if err != nil {
		x.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/event-stream")
	res, err := x.client().Do(r)
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { _ = res.Body.Close() })
	return &stream{x.t, res, bufio.NewReader(res.Body), cancel}
}

// next reads up to and with the next empty line.
func (s *stream) next() string {
	s.t.Helper()
	var text strings.Builder
	for {
		line, err := s.lines.ReadString('\n')
		if err != nil {
			s.t.Fatalf("after %q: %v", text.String(), err)
		}
		if line == "\n" {
			return text.String()
		}
		text.WriteString(line)
	}
}

// rest reads to the end, which must be a proper one.
func (s *stream) rest() string {
	s.t.Helper()
	b, err := io.ReadAll(s.lines)
	if err != nil {
		s.t.Errorf("after %q: %v", b, err)
	}
	return string(b)
}

func TestEventStream(t *testing.T) {
	onBoth(t, func(t *testing.T, serve func(engine.Handler, func(*call) error) *fixture) {
		kinds := make(chan pagi.Scope, 1)
		x := serve(engine.Handler{}, func(c *call) error {
			kinds <- *c.scope
			return errors.Join(
				c.send(c.ctx, pagi.SSEStart{Headers: pagi.NewHeaders("x-a", "b", "content-length", "3", "connection", "close")}),
				c.send(c.ctx, pagi.SSESend{Event: "tick", ID: "1", Data: "a\r\nb", Retry: time.Second}),
				c.send(c.ctx, pagi.SSEComment{Comment: "note"}),
				c.send(c.ctx, pagi.HTTPFullFlush{}),
				c.event("last"))
		})
		s := x.events("GET", nil)
		scope := testkit.Await(t, kinds)
		if scope.Type != pagi.TypeSSE || scope.Connection != nil || scope.Transport == nil || scope.Method != "GET" || scope.Path != "/events" ||
			scope.HasExtension(pagi.ExtInformational) || !scope.HasExtension(pagi.ExtFullFlush) || (scope.TLS() != nil) != (s.res.TLS != nil) {
			t.Errorf("scope %+v", scope)
		}
		h := s.res.Header
		if s.res.StatusCode != 200 || h.Get("Content-Type") != "text/event-stream" || h.Get("Cache-Control") != "no-cache" || h.Get("Date") == "" ||
			h.Get("X-A") != "b" || s.res.ContentLength != -1 {
			t.Errorf("response %v", s.res)
		}
		if got := s.rest(); got != "event: tick\nid: 1\nretry: 1000\ndata: a\ndata: b\n\n:note\n\ndata: last\n\n" {
			t.Errorf("stream %q", got)
		}
		if r := x.record(); r.Err != nil || r.Reason != "" || r.Status != 200 || r.Bytes == 0 {
			t.Errorf("record %+v", r)
		}
		if x.log.String() != "" {
			t.Errorf("logged %s", x.log)
		}
	})
}

func TestEventStreamOnAnHTTP1Connection(t *testing.T) {
	x := serve(t, engine.Handler{}, func(c *call) error {
		return errors.Join(c.send(c.ctx, pagi.SSEStart{Status: 201, Headers: pagi.NewHeaders("cache-control", "no-store", "content-type", "text/event-stream; charset=utf-8")}), c.event("x"))
	})
	text := x.request(getEvents).Rest() // the connection ends with the stream
	head, body, _ := strings.Cut(text, "\r\n\r\n")
	for _, want := range []string{"HTTP/1.1 201 Created", "Connection: keep-alive", "Transfer-Encoding: chunked", "Cache-Control: no-store",
		"Content-Type: text/event-stream; charset=utf-8", "Date: "} {
		if strings.Count(head, want) != 1 {
			t.Errorf("%q is not once in the head %q", want, head)
		}
	}
	if body != "9\r\ndata: x\n\n\r\n0\r\n\r\n" {
		t.Errorf("body %q", body)
	}
	old := x.request("GET / HTTP/1.0\r\nAccept: text/event-stream\r\n\r\n").Rest()
	if !strings.HasSuffix(old, "\r\n\r\ndata: x\n\n") || strings.Contains(old, "keep-alive") || strings.Contains(old, "chunked") {
		t.Errorf("HTTP/1.0: %q", old)
	}
}

func TestEventStreamOfEveryMethod(t *testing.T) {
	onBoth(t, func(t *testing.T, serve func(engine.Handler, func(*call) error) *fixture) {
		x := serve(engine.Handler{}, func(c *call) error {
			var body strings.Builder
			for more := true; more; {
				ev, err := c.receive(c.ctx)
				if err != nil {
					return err
				}
				e, is := ev.(pagi.SSERequest)
				if !is {
					return errors.New("received " + ev.EventType())
				}
				body.Write(e.Body)
				more = e.More
			}
			return errors.Join(c.open(), c.event(c.scope.Method+" "+body.String()))
		})
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE"} {
			body, want := "", "data: "+method+" \n"
			if method != "GET" {
				body, want = "question", "data: "+method+" question\n"
			}
			s := x.events(method, strings.NewReader(body))
			if got := s.next(); got != want {
				t.Errorf("%s: %q", method, got)
			}
			s.rest()
		}
	})
}

func TestEventStreamsThatHaveOnlyAHead(t *testing.T) {
	for _, tt := range []struct {
		method string
		status int
	}{{"HEAD", 200}, {"GET", 204}} {
		t.Run(tt.method+" "+http.StatusText(tt.status), func(t *testing.T) {
			onBoth(t, func(t *testing.T, serve func(engine.Handler, func(*call) error) *fixture) {
				x := serve(engine.Handler{}, func(c *call) error {
					if err := errors.Join(c.send(c.ctx, pagi.SSEStart{Status: tt.status}), c.event("dropped")); err != nil {
						return err
					}
					<-c.ctx.Done()
					if _, err := c.receive(context.Background()); err != nil { // the body
						return err
					}
					ev, err := c.receive(context.Background())
					if ev != (pagi.SSEDisconnect{Reason: pagi.ReasonClientClosed}) {
						t.Errorf("received %v", ev)
					}
					return err
				})
				s := x.events(tt.method, nil)
				if s.res.StatusCode != tt.status || s.rest() != "" {
					t.Errorf("%v", s.res)
				}
				if r := x.record(); r.Err != nil || r.Reason != "" || r.Close != nil {
					t.Errorf("record %+v", r)
				}
			})
		})
	}
}

func TestOrderOfSSEEvents(t *testing.T) {
	start, decline, body, closing := pagi.SSEStart{}, pagi.SSEHTTPResponseStart{Status: 404}, pagi.SSEHTTPResponseBody{Body: []byte("no")}, pagi.SSEClose{}
	for _, tt := range []struct {
		name   string
		events []pagi.Event
		wrong  string // what is said of the last one; "": nothing
	}{
		{"an event first", []pagi.Event{pagi.SSESend{}}, "sse.start must come first"},
		{"too much in comments first", []pagi.Event{pagi.SSEComment{Comment: strings.Repeat("c", 70_000)}}, "more than 65536 bytes of comments"},
		{"a close first", []pagi.Event{closing}, "sse.start must come first"},
		{"a body first", []pagi.Event{body}, "sse.http.response.start must come first"},
		{"two starts", []pagi.Event{start, start}, "started already"},
		{"a stream, then a response", []pagi.Event{start, decline}, "can no longer be declined"},
		{"a stream, then a body", []pagi.Event{start, body}, "must come first, and instead of sse.start"},
		{"a response, then a stream", []pagi.Event{decline, start}, "answered with"},
		{"a response, then an event", []pagi.Event{decline, pagi.SSESend{}}, "answered with"},
		{"a response, then a comment", []pagi.Event{decline, pagi.SSEComment{}}, "answered with"},
		{"a response, then a keepalive", []pagi.Event{decline, pagi.SSEKeepalive{}}, "answered with"},
		{"a response, then a close", []pagi.Event{decline, closing}, "answered with"},
		{"two responses", []pagi.Event{decline, decline}, "answered with"},
		{"two bodies", []pagi.Event{decline, body, body}, "complete"},
		{"an event after the close", []pagi.Event{start, closing, pagi.SSESend{}}, "closed"},
		{"a comment after the close", []pagi.Event{start, closing, pagi.SSEComment{}}, "closed"},
		{"a keepalive after the close", []pagi.Event{start, closing, pagi.SSEKeepalive{}}, "closed"},
		{"a start after the close", []pagi.Event{start, closing, start}, "started already"},
		{"a response after the close", []pagi.Event{start, closing, decline}, "can no longer be declined"},
		{"two closes", []pagi.Event{start, closing, closing}, ""},
		{"a flush at any time", []pagi.Event{pagi.HTTPFullFlush{}, start, pagi.HTTPFullFlush{}, closing, pagi.HTTPFullFlush{}}, ""},
		{"an http event", []pagi.Event{pagi.HTTPResponseStart{Status: 200}}, "not an event"},
		{"a file", []pagi.Event{start, pagi.HTTPResponseBody{File: "/etc/passwd", Length: pagi.ToEnd}}, "not an event"},
		{"an event name of two lines", []pagi.Event{start, pagi.SSESend{Event: "a\nb"}}, "'event'"},
		{"an id of two lines", []pagi.Event{start, pagi.SSESend{ID: "a\rb"}}, "'id'"},
		{"an id with NUL", []pagi.Event{start, pagi.SSESend{ID: "\x00"}}, "'id'"},
		{"a negative retry", []pagi.Event{start, pagi.SSESend{Retry: -1}}, "'retry'"},
		{"data that is not UTF-8", []pagi.Event{start, pagi.SSESend{Data: "\xff"}}, "'data' must be valid UTF-8"},
		{"a comment that is not UTF-8", []pagi.Event{start, pagi.SSEComment{Comment: "\xff"}}, "'comment' must be valid UTF-8"},
		{"a header with a newline", []pagi.Event{pagi.SSEStart{Headers: pagi.Headers{{Name: "x", Value: "a\nb"}}}}, "'headers'"},
		{"two content-lengths", []pagi.Event{pagi.SSEHTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-length", "1", "content-length", "2")}}, "two different"},
		{"a body that is too long", []pagi.Event{pagi.SSEHTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-length", "1")}, body}, "longer"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			x := serve(t, engine.Handler{}, func(c *call) error {
				for i, ev := range tt.events {
					err := c.send(c.ctx, ev)
					if i < len(tt.events)-1 || tt.wrong == "" {
						if err != nil {
							t.Errorf("event %d: %v", i, err)
						}
						continue
					}
					var wrong *pagi.EventError
					if !errors.As(err, &wrong) || !strings.Contains(err.Error(), tt.wrong) || wrong.Type != ev.EventType() {
						t.Errorf("event %d: error %v, want %q", i, err, tt.wrong)
					}
				}
				return nil
			})
			x.request(getEvents)
			x.record()
		})
	}
}

func TestSSEClose(t *testing.T) {
	onBoth(t, func(t *testing.T, serve func(engine.Handler, func(*call) error) *fixture) {
		ended := make(chan struct{})
		x := serve(engine.Handler{}, func(c *call) error {
			if _, err := c.receive(c.ctx); err != nil {
				return err
			}
			if err := errors.Join(c.open(), c.event("x"), c.send(c.ctx, pagi.SSEClose{Reason: "job_complete"})); err != nil {
				return err
			}
			ev, err := c.receive(c.ctx)
			if ev != (pagi.SSEDisconnect{Reason: "job_complete"}) {
				t.Errorf("received %v", ev)
			}
			<-ended // the stream's end has reached the client before the application returns
			if err := c.event("late"); err == nil {
				t.Error("an event after the close is no error")
			}
			return err
		})
		s := x.events("GET", nil)
		if got := s.rest(); got != "data: x\n\n" {
			t.Errorf("stream %q", got)
		}
		close(ended)
		if r := x.record(); r.Err != nil || r.Reason != "" || r.Close == nil || *r.Close != (engine.Closing{0, "job_complete"}) {
			t.Errorf("record %+v, close %+v", r, r.Close)
		}
		x.log.WaitFor(t, "job_complete")
	})
}

func TestDeclinedEventStream(t *testing.T) {
	onBoth(t, func(t *testing.T, serve func(engine.Handler, func(*call) error) *fixture) {
		received := make(chan pagi.Event, 1)
		x := serve(engine.Handler{}, func(c *call) error {
			if _, err := c.receive(c.ctx); err != nil {
				return err
			}
			err := errors.Join(
				c.send(c.ctx, pagi.SSEHTTPResponseStart{Status: 401, Headers: pagi.NewHeaders("www-authenticate", "Bearer", "content-type", "text/plain")}),
				c.send(c.ctx, pagi.SSEHTTPResponseBody{Body: []byte("who "), More: true}),
				c.send(c.ctx, pagi.SSEHTTPResponseBody{Body: []byte("are you?")}))
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
			defer cancel()
			ev, _ := c.receive(ctx)
			received <- ev
			return err
		})
		s := x.events("GET", nil)
		if s.res.StatusCode != 401 || s.res.Header.Get("Www-Authenticate") != "Bearer" || s.res.Header.Get("Content-Type") != "text/plain" || s.res.Header.Get("Cache-Control") != "" {
			t.Errorf("%v", s.res)
		}
		if s.res.ProtoMajor == 1 && !s.res.Close {
			t.Error("the connection stays open")
		}
		if got := s.rest(); got != "who are you?" {
			t.Errorf("body %q", got)
		}
		if ev := testkit.Await(t, received); ev != nil {
			t.Errorf("received %v after the response", ev)
		}
		if r := x.record(); r.Err != nil || r.Reason != "" {
			t.Errorf("record %+v", r)
		}
	})
}

func TestAWaitAfterADeclinedStreamEndsWithTheConnection(t *testing.T) {
	x := serve(t, engine.Handler{}, func(c *call) error {
		if _, err := c.receive(c.ctx); err != nil {
			return err
		}
		if err := errors.Join(c.send(c.ctx, pagi.SSEHTTPResponseStart{Status: 204}), c.send(c.ctx, pagi.SSEHTTPResponseBody{})); err != nil {
			return err
		}
		ev, err := c.receive(context.Background())
		if ev != nil || err == nil {
			t.Errorf("%v, %v", ev, err)
		}
		return nil
	})
	c := x.request(getEvents)
	c.Response("GET")
	c.Close()
	x.record()
}

func TestSSEKeepalive(t *testing.T) {
	onBoth(t, func(t *testing.T, serve func(engine.Handler, func(*call) error) *fixture) {
		step := make(chan struct{})
		x := serve(engine.Handler{}, func(c *call) error {
			err := errors.Join(c.open(), c.send(c.ctx, pagi.SSEKeepalive{Interval: time.Hour, Comment: "never"}),
				c.send(c.ctx, pagi.SSEKeepalive{Interval: time.Millisecond, Comment: "ping"}))
			<-step
			err = errors.Join(err, c.send(c.ctx, pagi.SSEKeepalive{Interval: time.Millisecond}))
			<-step
			err = errors.Join(err, c.send(c.ctx, pagi.SSEKeepalive{}))
			time.Sleep(10 * time.Millisecond) // in which nothing must come
			return errors.Join(err, c.event("end"))
		})
		s := x.events("GET", nil)
		for range 3 {
			if got := s.next(); got != ":ping\n" {
				t.Fatalf("%q", got)
			}
		}
		step <- struct{}{}
		for got := ""; got != ":\n"; got = s.next() {
			if got != "" && got != ":ping\n" {
				t.Fatalf("%q", got)
			}
		}
		step <- struct{}{}
		rest := strings.Split(strings.TrimSuffix(s.rest(), "\n\n"), "\n\n")
		if rest[len(rest)-1] != "data: end" || slices.ContainsFunc(rest[:len(rest)-1], func(e string) bool { return e != ":" }) {
			t.Errorf("rest %q", rest)
		}
		x.record()
	})
}
