package engine_test

import (
	"context"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// addDisconnect receives until the disconnect and adds that it came.
func (j *journal) addDisconnect(c *call) error {
	for {
		ev, err := c.receive(c.ctx)
		if err != nil {
			return err
		}
		if _, gone := ev.(pagi.HTTPDisconnect); gone {
			j.add("event")
			return nil
		}
	}
}

// The event comes when all callbacks have run, whoever else notices the end meanwhile.
func TestCallbacksRunBeforeTheDisconnectEvent(t *testing.T) {
	const body = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"
	leave := func(c *testkit.Conn) { c.Close() }
	for _, tt := range []struct {
		name     string
		options  engine.Handler
		request  string
		callback func(c *call) // runs first
		aside    func(c *call) // runs meanwhile
		then     func(c *testkit.Conn)
	}{
		{"a slow callback", engine.Handler{}, get, func(*call) {}, func(*call) {}, leave},
		{"a callback that sends", engine.Handler{}, get, func(c *call) { _ = c.start(200) }, func(*call) {}, leave},
		{"a callback that registers another", engine.Handler{}, get, func(c *call) {
			c.scope.Connection.OnDisconnect(func(string) { _ = c.start(200) })
		}, func(*call) {}, leave},
		{"another goroutine that sends", engine.Handler{}, get, func(*call) {}, func(c *call) { _ = c.start(200) }, leave},
		{"another goroutine that receives", engine.Handler{}, get, func(*call) {}, func(c *call) {
			if ev, err := c.receive(context.Background()); ev != (pagi.HTTPDisconnect{}) || err != nil {
				panic(err)
			}
		}, leave},
		{"a body that breaks off", engine.Handler{}, body, func(*call) {}, func(c *call) { _ = c.start(200) }, leave},
		{"a body that breaks off when its time is over", engine.Handler{Timeouts: engine.Timeouts{RequestTimeout: 20 * time.Millisecond}}, body, func(*call) {}, func(*call) {}, func(c *testkit.Conn) {
			c.Response("POST")
			c.Close()
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var happened journal
			waiting := make(chan struct{})
			x := serve(t, tt.options, func(c *call) error {
				conn := c.scope.Connection
				for _, name := range []string{"first", "second"} {
					conn.OnDisconnect(func(string) {
						if name == "first" {
							tt.callback(c)
						}
						time.Sleep(50 * time.Millisecond) // in which nothing else must happen
						happened.add(name)
					})
				}
				var aside sync.WaitGroup
				aside.Go(func() {
					<-conn.Disconnected()
					tt.aside(c)
				})
				close(waiting)
				err := happened.addDisconnect(c)
				aside.Wait()
				return err
			})
			c := x.request(tt.request)
			testkit.Await(t, waiting)
			tt.then(c)
			if rec := x.record(); rec.Err != nil || rec.Reason == "" {
				t.Errorf("record %+v", rec)
			}
			if diff := cmp.Diff([]string{"first", "second", "event"}, happened.all()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A callback that receives gets the event, though nobody else does before it has returned.
func TestACallbackMayReceive(t *testing.T) {
	for _, request := range []string{get, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc"} {
		t.Run(request[:4], func(t *testing.T) {
			var happened journal
			waiting := make(chan struct{})
			x := serve(t, engine.Handler{}, func(c *call) error {
				c.scope.Connection.OnDisconnect(func(string) {
					if ev, err := c.receive(context.Background()); ev != (pagi.HTTPDisconnect{}) || err != nil {
						t.Errorf("received %v, %v", ev, err)
					}
					time.Sleep(20 * time.Millisecond) // in which nobody else must have it
					happened.add("callback")
				})
				close(waiting)
				return happened.addDisconnect(c)
			})
			c := x.request(request)
			testkit.Await(t, waiting)
			c.Close()
			x.record()
			if diff := cmp.Diff([]string{"callback", "event"}, happened.all()); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("when the response is complete", func(t *testing.T) {
		x := serve(t, engine.Handler{}, func(c *call) error {
			c.scope.Connection.OnComplete(func() {
				if ev, err := c.receive(context.Background()); ev != (pagi.HTTPDisconnect{}) || err != nil {
					t.Errorf("received %v, %v", ev, err)
				}
			})
			return c.reply("x")
		})
		x.request(get).Response("GET")
		x.record()
	})
}

// The request is not over, for the server neither, before its callbacks have run.
func TestTheReturnWaitsForCallbacks(t *testing.T) {
	waiting, returned, ran := make(chan struct{}), make(chan struct{}), make(chan struct{})
	x := start(t, engine.Handler{}, func(c *call) error {
		c.scope.Connection.OnDisconnect(func(string) {
			<-returned
			time.Sleep(20 * time.Millisecond) // in which the request must not be over
			close(ran)
		})
		close(waiting)
		<-c.scope.Connection.Disconnected()
		close(returned)
		return nil
	}, (*httptest.Server).Start)
	c := x.request(get)
	testkit.Await(t, waiting)
	c.Close()
	x.record()
	select {
	case <-ran:
	default:
		t.Error("the callback runs on")
	}
}
