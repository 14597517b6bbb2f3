package engine_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/pagi/nethttp"
)

// onAll runs a test over HTTP/1.1, and over HTTP/2 with TLS and without.
func onAll(t *testing.T, f func(t *testing.T, serve func(engine.Handler, func(*call) error) *fixture)) {
	t.Helper()
	onBoth(t, f)
	t.Run("h2c", func(t *testing.T) {
		t.Parallel()
		f(t, func(h engine.Handler, app func(*call) error) *fixture {
			return start(t, h, app, func(s *httptest.Server) {
				s.Config.Protocols = new(http.Protocols)
				s.Config.Protocols.SetUnencryptedHTTP2(true)
				s.Start()
				s.Client().Transport.(*http.Transport).Protocols = s.Config.Protocols
			})
		})
	})
}

// await reports whether ch is closed in time. It is for an application's goroutine.
func await(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	case <-time.After(testkit.Patience / 4): // before the client gives up
		return false
	}
}

// The client has the whole response, and the application has been told so, while it
// works on.
func TestResponsesEndBeforeTheirApplication(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("file"), 0o600); err != nil {
		t.Fatal(err)
	}
	const limit = 20 * time.Millisecond
	for _, tt := range []struct {
		name    string
		options engine.Handler
		app     func(c *call) error
		status  int
		body    string
	}{
		{"one piece", engine.Handler{}, func(c *call) error { return c.reply("hello") }, 200, "hello"},
		{"without a body", engine.Handler{}, func(c *call) error { return errors.Join(c.start(204), c.body("")) }, 204, ""},
		{"streamed", engine.Handler{}, func(c *call) error { return errors.Join(c.start(200), c.more("a"), c.body("b")) }, 200, "ab"},
		{"a file", engine.Handler{}, func(c *call) error {
			return errors.Join(c.start(200), c.send(c.ctx, pagi.HTTPResponseBody{File: file, Length: pagi.ToEnd}))
		}, 200, "file"},
		{"by way of a queue", engine.Handler{}, func(c *call) error {
			c.scope.Transport.BufferedAmount()
			return errors.Join(c.start(200), c.more("a"), c.more("b"), c.body("c"))
		}, 200, "abc"},
		{"trailers", engine.Handler{}, func(c *call) error {
			return errors.Join(c.send(c.ctx, pagi.HTTPResponseStart{Status: 200, Trailers: true}), c.more("a"), c.body("b"),
				c.send(c.ctx, pagi.HTTPResponseTrailers{Headers: pagi.NewHeaders("x-t", "1")}))
		}, 200, "ab"},
		{"limits that pass afterwards", engine.Handler{Timeouts: engine.Timeouts{RequestTimeout: limit, MaxRequestTime: limit}}, func(c *call) error {
			err := c.reply("x")
			time.Sleep(2 * limit) // which is nothing to a response that is complete
			return err
		}, 200, "x"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onAll(t, func(t *testing.T, serve func(engine.Handler, func(*call) error) *fixture) {
				ended := make(chan struct{})
				x := serve(tt.options, func(c *call) error {
					complete := false
					c.scope.Connection.OnComplete(func() {
						complete = await(ended) // the end does not wait for callbacks
					})
					err := tt.app(c)
					if !complete || !c.scope.Connection.ResponseComplete() {
						t.Error("not told that it is complete, or the client does not find it so")
					}
					if ev, err := c.receive(c.ctx); ev != (pagi.HTTPDisconnect{}) || err != nil {
						t.Errorf("received %v, %v", ev, err)
					}
					if err := c.body("more"); err == nil {
						t.Error("a body after the end is no error")
					}
					if err := c.send(c.ctx, pagi.HTTPFullFlush{}); err != nil {
						t.Error(err)
					}
					select {
					case <-c.ctx.Done():
						t.Errorf("the context has ended: %v", context.Cause(c.ctx))
					case <-time.After(20 * time.Millisecond):
					}
					return err
				})
				res, err := x.client().Get(x.url)
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(res.Body)
				if string(body) != tt.body || res.StatusCode != tt.status || err != nil || (tt.name == "trailers") != (res.Trailer.Get("X-T") == "1") {
					t.Errorf("%v %q %v, trailers %v", res, body, err, res.Trailer)
				}
				res.Body.Close()
				close(ended)
				if r := x.record(); r.Err != nil || r.Reason != "" || r.Status != tt.status || r.Bytes != int64(len(tt.body)) {
					t.Errorf("record %+v", r)
				}
				if x.log.String() != "" {
					t.Errorf("logged %s", x.log)
				}
			})
		})
	}
}

// What turns a request down does not wait for its application either.
func TestAnswersOfTheServersEndBeforeTheApplication(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options engine.Handler
		body    func(t *testing.T) io.Reader // nil: none
		status  int
		reason  string
	}{
		{"it stalls", engine.Handler{Timeouts: engine.Timeouts{RequestTimeout: 20 * time.Millisecond}}, nil, 504, "x-request-timeout"},
		{"it takes too long", engine.Handler{Timeouts: engine.Timeouts{MaxRequestTime: 20 * time.Millisecond}}, nil, 504, "x-request-time"},
		{"its body is too large", engine.Handler{Limits: engine.Limits{MaxBodySize: 1}}, func(*testing.T) io.Reader {
			return io.MultiReader(strings.NewReader("abc")) // its length is not known
		}, 413, pagi.ReasonBodyTooLarge},
		{"its body does not come", engine.Handler{Timeouts: engine.Timeouts{BodyTimeout: 20 * time.Millisecond}}, func(t *testing.T) io.Reader {
			body, never := io.Pipe()
			t.Cleanup(func() { _ = never.Close() })
			return body
		}, 408, pagi.ReasonClientTimeout},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onAll(t, func(t *testing.T, serve func(engine.Handler, func(*call) error) *fixture) {
				ended := make(chan struct{})
				x := serve(tt.options, func(c *call) error {
					for reading := true; reading; {
						ev, err := c.receive(c.ctx)
						if err != nil {
							return err
						}
						_, reading = ev.(pagi.HTTPRequest)
					}
					if !await(ended) {
						t.Error("the client waits for the application")
					}
					return nil
				})
				var body io.Reader
				if tt.body != nil {
					body = tt.body(t)
				}
				res, err := x.client().Post(x.url, "text/plain", body)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadAll(res.Body); err != nil || res.StatusCode != tt.status {
					t.Errorf("%v, %v", res, err)
				}
				res.Body.Close()
				close(ended)
				if r := x.record(); r.Err != nil || r.Reason != tt.reason {
					t.Errorf("record %+v", r)
				}
			})
		})
	}
}

// A client that leaves before the end has not got the response.
func TestClientCancelsBeforeTheEnd(t *testing.T) {
	big := strings.Repeat("x", 16<<20)
	for _, tt := range []struct {
		name  string
		first func(c *call) error // what the client gets before it leaves
		then  func(c *call) error
	}{
		{"before the trailers", func(c *call) error {
			return errors.Join(c.send(c.ctx, pagi.HTTPResponseStart{Status: 200, Trailers: true}), c.body("b"))
		}, func(c *call) error {
			return c.send(c.ctx, pagi.HTTPResponseTrailers{Headers: pagi.NewHeaders("x-t", "1")})
		}},
		{"before the last piece", func(c *call) error { return errors.Join(c.start(200), c.more("b")) }, func(c *call) error { return c.body("c") }},
		{"in the last piece", func(c *call) error { return errors.Join(c.start(200), c.more("b")) }, func(c *call) error { return c.body(big) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onAll(t, func(t *testing.T, serve func(engine.Handler, func(*call) error) *fixture) {
				var happened journal
				leave := make(chan struct{})
				x := serve(engine.Handler{}, func(c *call) error {
					c.scope.Connection.OnComplete(func() { happened.add("complete") })
					err := tt.first(c)
					if tt.name == "in the last piece" {
						return errors.Join(err, tt.then(c))
					}
					<-leave
					<-c.scope.Connection.Disconnected()
					return errors.Join(err, tt.then(c))
				})
				ctx, cancel := context.WithCancel(t.Context())
				r, err := http.NewRequestWithContext(ctx, "GET", x.url, nil)
				if err != nil {
					t.Fatal(err)
				}
				res, err := x.client().Do(r)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.ReadFull(res.Body, make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
				cancel()
				close(leave)
				if r := x.record(); r.Err != nil || r.Reason != pagi.ReasonClientClosed && (r.Reason != pagi.ReasonWriteError || tt.name != "in the last piece") {
					t.Errorf("record %+v", r)
				}
				if all := happened.all(); len(all) > 0 {
					t.Errorf("told %v", all)
				}
			})
		})
	}
}

// A Receive that reads when the response ends is woken; what was received before stays.
func TestReceiveEndsWithTheResponse(t *testing.T) {
	onAll(t, func(t *testing.T, serve func(engine.Handler, func(*call) error) *fixture) {
		ended := make(chan struct{})
		x := serve(engine.Handler{}, func(c *call) error {
			ev, err := c.receive(c.ctx)
			first, is := ev.(pagi.HTTPRequest)
			if !is || string(first.Body) != "first" || err != nil {
				t.Errorf("received %v, %v", ev, err)
			}
			received := make(chan pagi.Event, 1)
			go func() {
				ev, _ := c.receive(context.Background())
				received <- ev
			}()
			testkit.Eventually(t, "a Receive that reads", func() bool { return engine.IsReading(c.scope) })
			err = c.reply("x")
			if !await(ended) {
				t.Error("the client waits for the application")
			}
			if ev := testkit.Await(t, received); ev != (pagi.HTTPDisconnect{}) {
				t.Errorf("received %v", ev)
			}
			if string(first.Body) != "first" {
				t.Errorf("the piece has become %q", first.Body)
			}
			if c.ctx.Err() != nil {
				t.Errorf("the context has ended: %v", context.Cause(c.ctx))
			}
			return err
		})
		body, client := io.Pipe()
		defer client.Close()
		go func() { _, _ = io.WriteString(client, "first") }() // the rest never comes
		res, err := x.client().Post(x.url, "text/plain", body)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(res.Body); string(got) != "x" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		close(ended)
		if r := x.record(); r.Err != nil || r.Reason != "" {
			t.Errorf("record %+v", r)
		}
	})
}

func TestRunningAndFailuresAfterTheResponse(t *testing.T) {
	ended := make(chan struct{})
	x := start(t, engine.Handler{}, func(c *call) error {
		err := c.reply("x")
		<-ended
		return errors.Join(err, errors.New("boom"))
	}, (*httptest.Server).Start)
	h := x.srv.Config.Handler.(*nethttp.Adapter)
	for range 3 { // on one connection
		testkit.Get(t, x.srv.Client(), x.url)
	}
	testkit.Eventually(t, "all three to work on", func() bool { return h.Running() == 3 })
	close(ended)
	for range 3 {
		if r := x.record(); r.Err == nil {
			t.Errorf("record %+v", r)
		}
	}
	x.log.WaitFor(t, "after its response was complete", "boom")
	testkit.Eventually(t, "their end", func() bool { return h.Running() == 0 })
}

// A panic that is not the application's ends its request, not the program.
func TestAPanicOfTheHooks(t *testing.T) {
	log := &testkit.Log{}
	srv := httptest.NewServer(&nethttp.Adapter{Engine: &engine.Handler{
		App: pagi.AppFunc(func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, _ pagi.Send) error {
			return errors.New("no answer")
		}),
		Logger:    log.Logger(),
		Observers: []engine.Observer{engine.ObserverFunc(func(*engine.Record) { panic("in the hook") })},
	}})
	defer srv.Close()
	if res, err := srv.Client().Get(srv.URL); err == nil {
		res.Body.Close()
	}
	log.WaitFor(t, "request failed", "in the hook", "stack=")
}
