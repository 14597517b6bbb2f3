package engine_test

import (
	"context"
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// unreadBody is the head of a request whose body comes later.
const unreadBody = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n"

// A Receive between the body and the trailers of a response has the request's body.
func TestReceiveBeforeTheTrailers(t *testing.T) {
	received := make(chan pagi.Event, 1)
	x := serve(t, engine.Handler{}, func(c *call) error {
		err := errors.Join(c.send(c.ctx, pagi.HTTPResponseStart{Status: 200, Trailers: true}), c.body("x"))
		ev, receiving := c.receive(c.ctx)
		received <- ev
		return errors.Join(err, receiving, c.send(c.ctx, pagi.HTTPResponseTrailers{}))
	})
	c := x.request(unreadBody)
	c.Say("abc")
	if _, is := testkit.Await(t, received).(pagi.HTTPRequest); !is {
		t.Error("not received")
	}
	if r := x.record(); r.Err != nil {
		t.Error(r.Err)
	}
}

// gate is a reader that fails when it is opened.
type gate chan struct{}

func (g gate) Read([]byte) (int, error) { <-g; return 0, errors.New("the disk is broken") }

// A Receive that waits for the client ends when what is sent cannot be read.
func TestReceiveWhileASourceFails(t *testing.T) {
	x := serve(t, engine.Handler{}, func(c *call) error {
		failing, received := make(gate), make(chan pagi.Event, 1)
		err := c.start(200)
		sent := make(chan error, 1)
		go func() { sent <- c.send(c.ctx, pagi.HTTPResponseBody{FH: failing, Length: pagi.ToEnd}) }()
		go func() {
			ev, _ := c.receive(c.ctx)
			received <- ev
		}()
		testkit.Eventually(t, "a Receive that reads", func() bool { return engine.IsReading(c.scope) })
		close(failing)
		if err := testkit.Await(t, sent); err == nil || !strings.Contains(err.Error(), "broken") {
			t.Errorf("sent with %v", err)
		}
		if ev := testkit.Await(t, received); ev != (pagi.HTTPDisconnect{}) {
			t.Errorf("received %v", ev)
		}
		return err
	})
	x.request(unreadBody)
	x.record()
}

// A handle of unknown size may be fed by a Receive.
func TestAHandleThatAReceiveFeeds(t *testing.T) {
	x := serve(t, engine.Handler{}, func(c *call) error {
		r, w := io.Pipe()
		go func() {
			ev, err := c.receive(c.ctx)
			if request, is := ev.(pagi.HTTPRequest); is {
				_, err = w.Write(request.Body)
			}
			_ = w.CloseWithError(err)
		}()
		return errors.Join(c.start(200), c.send(c.ctx, pagi.HTTPResponseBody{FH: r, Length: pagi.ToEnd}))
	})
	c := x.request(unreadBody)
	c.Say("abc")
	if _, body := c.Response("POST"); body != "abc" {
		t.Errorf("got %q", body)
	}
}

// A Receive that the end of its request wakes is no fault of the client's.
func TestNoWarningForAReceiveThatIsWoken(t *testing.T) {
	for name, run := range map[string]func(*httptest.Server){"as it is served": nil, "net/http": (*httptest.Server).Start} {
		t.Run(name, func(t *testing.T) {
			x := start(t, engine.Handler{Timeouts: engine.Timeouts{BodyTimeout: time.Minute}}, func(c *call) error {
				received := make(chan pagi.Event, 1)
				go func() {
					ev, _ := c.receive(context.Background())
					received <- ev
				}()
				testkit.Eventually(t, "a Receive that reads", func() bool { return engine.IsReading(c.scope) })
				err := c.reply("x")
				return err
			}, run)
			c := x.request(unreadBody)
			c.Response("POST")
			if r := x.record(); r.Err != nil || r.Reason != "" {
				t.Errorf("record: %v %q", r.Err, r.Reason)
			}
			if log := x.log.String(); log != "" {
				t.Errorf("the log has %s", log)
			}
		})
	}
}
