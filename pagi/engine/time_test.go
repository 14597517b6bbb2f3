package engine_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// MaxRequestTime ends what goes on although it moves, and what waits for its client.
func TestMaxRequestTime(t *testing.T) {
	for _, tt := range []struct {
		name  string
		piece []byte
		pause time.Duration
		reads bool
		// reasons are those it may end for.
		reasons []string
	}{
		{"a response that goes on", []byte("x"), 2 * time.Millisecond, true, []string{"x-request-time", pagi.ReasonClientClosed}},
		{"a client that does not read", bytes.Repeat([]byte("x"), 1<<20), 0, false, []string{"x-request-time", pagi.ReasonWriteTimeout}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ended := make(chan error, 1)
			x := serve(t, engine.Handler{Timeouts: engine.Timeouts{MaxRequestTime: 100 * time.Millisecond, WriteTimeout: testkit.Patience}}, func(c *call) error {
				err := c.send(c.ctx, pagi.HTTPResponseStart{Status: 200})
				for err == nil && c.ctx.Err() == nil {
					err = c.send(c.ctx, pagi.HTTPResponseBody{Body: tt.piece, More: true})
					time.Sleep(tt.pause)
				}
				ended <- errors.Join(err)
				return err
			})
			begun := time.Now()
			c := x.request("GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
			if tt.reads {
				if _, _, err := c.Try("GET"); err == nil {
					t.Error("the response is complete")
				}
			}
			if err := testkit.Await(t, ended); err != nil {
				t.Error(err)
			}
			rec := x.record()
			if took := time.Since(begun); took < 90*time.Millisecond || took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			known := false
			for _, reason := range tt.reasons {
				known = known || rec.Reason == reason
			}
			if !known {
				t.Errorf("reason %q", rec.Reason)
			}
			x.log.WaitFor(t, "level=ERROR", "request timed out", "--max-request-time", "path=/long")
		})
	}
	t.Run("a request in time", func(t *testing.T) {
		x := serve(t, engine.Handler{Timeouts: engine.Timeouts{MaxRequestTime: testkit.Patience}}, func(c *call) error { return c.reply("fine") })
		if _, body := x.request("GET / HTTP/1.1\r\nHost: x\r\n\r\n").Response("GET"); body != "fine" {
			t.Errorf("%q", body)
		}
	})
}

// Limits that pass just when a request ends use nothing of it when its handler has returned,
// nor what the queue's goroutine has.
func TestLimitsThatPassAtTheEnd(t *testing.T) {
	const limit = 2 * time.Millisecond
	piece := strings.Repeat("x", 100)
	for _, tt := range []struct {
		name    string
		options engine.Handler
		queued  bool
	}{
		{"as a whole", engine.Handler{Timeouts: engine.Timeouts{MaxRequestTime: limit}}, false},
		{"as a whole, by way of a queue", engine.Handler{Timeouts: engine.Timeouts{MaxRequestTime: limit}}, true},
		{"between two pieces", engine.Handler{Timeouts: engine.Timeouts{RequestTimeout: limit}}, false},
		{"between two pieces, by way of a queue", engine.Handler{Timeouts: engine.Timeouts{RequestTimeout: limit}}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onAll(t, func(t *testing.T, serve func(engine.Handler, func(*call) error) *fixture) {
				x := serve(tt.options, func(c *call) error {
					end := time.Now().Add(limit - 200*time.Microsecond + rand.N(400*time.Microsecond))
					if tt.queued {
						c.scope.Transport.BufferedAmount()
					}
					err := c.start(200)
					for time.Now().Before(end) && c.scope.Connection.IsConnected() {
						err = errors.Join(err, c.more(piece))
						if tt.options.RequestTimeout > 0 {
							time.Sleep(time.Until(end))
						}
					}
					return errors.Join(err, c.body(""))
				})
				client, left := x.client(), int64(300)
				var asking sync.WaitGroup
				for range 8 {
					asking.Go(func() {
						for atomic.AddInt64(&left, -1) >= 0 {
							if res, err := client.Get(x.url); err == nil {
								_, _ = io.Copy(io.Discard, res.Body) // it may be cut
								res.Body.Close()
							}
							if r := <-x.done; r.Err != nil {
								t.Errorf("record %+v", r)
							}
						}
					})
				}
				asking.Wait()
			})
		})
	}
}

// A Send that waits for a handle of the application's does not outlast a limit: the client
// is cut, and the application told. What its callbacks send is not waited for either.
func TestLimitsWhileAHandleIsWaitedFor(t *testing.T) {
	for _, tt := range []struct {
		name, reason, option string
		options              engine.Handler
	}{
		{"as a whole", "x-request-time", "--max-request-time", engine.Handler{Timeouts: engine.Timeouts{MaxRequestTime: 300 * time.Millisecond}}},
		{"without a sign of life", "x-request-timeout", "--request-timeout", engine.Handler{Timeouts: engine.Timeouts{RequestTimeout: 300 * time.Millisecond}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onAll(t, func(t *testing.T, serve func(engine.Handler, func(*call) error) *fixture) {
				handle, other, err := os.Pipe()
				if err != nil {
					t.Fatal(err)
				}
				defer handle.Close()
				defer other.Close() // ends a Send that would not
				told, cut := make(chan string, 1), make(chan struct{})
				x := serve(tt.options, func(c *call) error {
					c.scope.Connection.OnDisconnect(func(reason string) {
						if err := c.more("no-op"); err != nil {
							t.Error(err)
						}
						told <- reason
					})
					tasks := make(chan error, 1)
					go func() {
						_, err := c.receive(c.ctx)
						for err == nil && c.ctx.Err() == nil {
							_, err = c.receive(c.ctx)
						}
						if c.scope.HTTPVersion != "1.1" || OtherEngine != nil { // net/http has to wait
							await(cut)
						}
						tasks <- other.Close()
					}()
					err := errors.Join(c.start(200), c.more("x"), c.send(c.ctx, pagi.HTTPResponseBody{FH: handle, Length: pagi.ToEnd}))
					return errors.Join(err, testkit.Await(t, tasks))
				})
				client := x.client()
				client.Timeout = testkit.Patience / 2
				res, err := client.Get(x.url)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				if body, err := io.ReadAll(res.Body); string(body) != "x" || err == nil {
					t.Errorf("the client has %q, %v", body, err)
				}
				close(cut)
				if reason := testkit.Await(t, told); reason != tt.reason {
					t.Errorf("told %q", reason)
				}
				if r := x.record(); r.Err != nil || r.Reason != tt.reason {
					t.Errorf("record %+v", r)
				}
				x.log.WaitFor(t, "level=ERROR", "request timed out", tt.option)
			})
		})
	}
}

// An event stream that an application makes itself may be quiet, and go on.
func TestTimeLimitsDoNotEndAnEventStream(t *testing.T) {
	const limit = time.Second
	for _, tt := range []struct {
		name, contentType string
		limits            engine.Timeouts
		ended             bool
	}{
		{"request_timeout", "text/event-stream; charset=utf-8", engine.Timeouts{RequestTimeout: limit}, false},
		{"max_request_time", "Text/Event-Stream", engine.Timeouts{MaxRequestTime: limit}, false},
		{"request_timeout of another stream", "text/event-streams", engine.Timeouts{RequestTimeout: limit}, true},
		{"max_request_time of another stream", "application/x-ndjson", engine.Timeouts{MaxRequestTime: limit}, true},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			x := bubble(t, engine.Handler{Timeouts: tt.limits}, func(c *call) error {
				if err := errors.Join(c.start(200, "content-type", tt.contentType), c.more("data: 1\n\n")); err != nil {
					return err
				}
				select {
				case <-c.ctx.Done():
					return nil
				case <-time.After(5 * limit):
				}
				return c.body("data: 2\n\n")
			})
			_, body, err := x.request("GET / HTTP/1.1\r\nHost: x\r\n\r\n").Try("GET")
			if complete := err == nil && body == "data: 1\n\ndata: 2\n\n"; complete == tt.ended {
				t.Errorf("%q %v", body, err)
			}
			if r := x.record(); (r.Reason != "") != tt.ended {
				t.Errorf("reason %q", r.Reason)
			}
		})
	}
}

// What ends a response has a time of its own to be written, however long ago the last piece was.
func TestAResponseMayEndLongAfterItsLastPiece(t *testing.T) {
	const limit = time.Second
	for _, tt := range []struct {
		name, accept string
		begin, end   func(c *call) error
		want         string
	}{
		{"an http scope", "*/*", func(c *call) error { return errors.Join(c.start(200), c.more("begun")) }, func(c *call) error { return c.body("") }, "begun"},
		{"an event stream that is closed", "text/event-stream", func(c *call) error {
			return errors.Join(c.send(c.ctx, pagi.SSEStart{Status: 200}), c.send(c.ctx, pagi.SSESend{Data: "begun"}))
		}, func(c *call) error { return c.send(c.ctx, pagi.SSEClose{}) }, "data: begun\n\n"},
		{"an event stream whose application returns", "text/event-stream", func(c *call) error {
			return errors.Join(c.send(c.ctx, pagi.SSEStart{Status: 200}), c.send(c.ctx, pagi.SSESend{Data: "begun"}))
		}, func(c *call) error { return nil }, "data: begun\n\n"},
	} {
		inBubble(t, tt.name, func(t *testing.T) {
			x := bubble(t, engine.Handler{Timeouts: engine.Timeouts{WriteTimeout: limit}}, func(c *call) error {
				if err := tt.begin(c); err != nil {
					return err
				}
				time.Sleep(3 * limit) // in the bubble: the time of the last piece is over
				return tt.end(c)
			})
			_, body, err := x.request("GET / HTTP/1.1\r\nHost: x\r\nAccept: " + tt.accept + "\r\n\r\n").Try("GET")
			if err != nil || body != tt.want {
				t.Errorf("%q %v", body, err)
			}
		})
	}
}
