package ws_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/server/ws"
)

// TestEnds has WebSockets that end without a frame of the client: what the client gets, and what
// the application is told. TestFrames has those that a frame ends.
func TestEnds(t *testing.T) {
	for name, c := range map[string]struct {
		idle   time.Duration
		app    func(s *session) error // after accept; nil: it receives
		act    func(x *site, p *peer)
		code   int // of the Close the client gets; 0: none
		told   pagi.WebSocketDisconnect
		reason string         // of the record
		closed engine.Closing // likewise
	}{
		"the client drops the connection": {
			act:  func(_ *site, p *peer) { p.close() },
			told: pagi.WebSocketDisconnect{Code: 1006, Reason: pagi.ReasonClientClosed}, reason: pagi.ReasonClientClosed,
		},
		"the client says no more": {
			act:  func(_ *site, p *peer) { p.end() },
			told: pagi.WebSocketDisconnect{Code: 1006, Reason: pagi.ReasonClientClosed}, reason: pagi.ReasonClientClosed,
		},
		"the client closes": {
			act: func(_ *site, p *peer) { p.raw(closing(4321, "why")) }, code: 4321,
			told: pagi.WebSocketDisconnect{Code: 4321, Reason: "why"}, closed: engine.Closing{Code: 4321, Reason: "why"},
		},
		"the application closes": {
			app: func(s *session) error { return s.send(s.ctx, pagi.WebSocketClose{Code: 3456, Reason: "enough"}) },
			act: func(_ *site, p *peer) {
				if reason := p.closesWith(3456); reason != "enough" {
					p.t.Errorf("reason %q", reason)
				}
				p.say(text, "too late for anybody")
				p.raw(closing(3456, "fine"))
				p.ends()
			},
			told: pagi.WebSocketDisconnect{Code: 3456, Reason: "fine"}, closed: engine.Closing{Code: 3456, Reason: "enough"},
		},
		"nothing happens for too long": {
			idle: 50 * time.Millisecond, code: 1001,
			told: pagi.WebSocketDisconnect{Code: 1006, Reason: pagi.ReasonIdleTimeout}, reason: pagi.ReasonIdleTimeout,
			closed: engine.Closing{Code: 1001, Reason: "idle for too long"},
		},
		"the server stops": {
			act: func(x *site, _ *peer) { x.ws.Drain() }, code: 1001,
			told: pagi.WebSocketDisconnect{Code: 1006, Reason: pagi.ReasonServerShutdown}, reason: pagi.ReasonServerShutdown,
			closed: engine.Closing{Code: 1001, Reason: "server shutdown"},
		},
		"the server is cut off": {
			act:  func(x *site, _ *peer) { x.stop(&pagi.DisconnectError{Reason: pagi.ReasonServerShutdown}) },
			told: pagi.WebSocketDisconnect{Code: 1006, Reason: pagi.ReasonServerShutdown}, reason: pagi.ReasonServerShutdown,
		},
		"no pong comes": {
			app: func(s *session) error {
				return s.send(s.ctx, pagi.WebSocketKeepalive{Interval: 10 * time.Millisecond, Timeout: 50 * time.Millisecond})
			},
			act: func(_ *site, p *peer) {
				p.hears(pingF, "")
				p.say(pongF, "")
				for first, _, err := p.read(); err == nil; first, _, err = p.read() {
					if first != pingF {
						p.t.Errorf("got frame %#x", first)
					}
				}
			},
			told: pagi.WebSocketDisconnect{Code: 1006, Reason: pagi.ReasonKeepaliveTimeout}, reason: pagi.ReasonKeepaliveTimeout,
		},
	} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, carrier string) {
				server := &ws.Server{IdleTimeout: c.idle}
				ends, causes := make(chan pagi.WebSocketDisconnect, 1), make(chan error, 1)
				x := serve(t, carrier, server, func(s *session) error {
					s.next()
					err := s.accept()
					if c.app != nil {
						err = errors.Join(err, c.app(s))
					}
					ends <- s.next().(pagi.WebSocketDisconnect)
					if again := s.next(); again != s.next() {
						t.Errorf("then %v", again)
					}
					<-s.ctx.Done()
					causes <- context.Cause(s.ctx)
					return errors.Join(err, s.text("to nobody"))
				})
				p := x.dial()
				if c.act != nil {
					c.act(x, p)
				}
				if c.code != 0 {
					p.closes(c.code)
				}
				ended(t, ends, c.told.Code, c.told.Reason)
				var cause *pagi.DisconnectError
				want := c.reason
				if want == "" {
					want = pagi.ReasonClientClosed
				}
				if err := testkit.Await(t, causes); !errors.As(err, &cause) || cause.Reason != want {
					t.Errorf("the context ended with %v, want %s", err, want)
				}
				status := 101
				if carrier == "h2" {
					status = 200
				}
				if c.idle > 0 {
					x.log.WaitFor(t, "level=WARN", "option=--ws-idle-timeout", "path=/chat")
				}
				r := x.record()
				if r.Status != status || r.Reason != c.reason || r.Err != nil {
					t.Errorf("record: %d %q %v", r.Status, r.Reason, r.Err)
				}
				if r.Close == nil {
					r.Close = &engine.Closing{}
				}
				if *r.Close != c.closed {
					t.Errorf("record: closed by %+v, want %+v", *r.Close, c.closed)
				}
			})
		})
	}
}

// TestContextThatNobodyWaitsFor: the context ends although nothing waits for it.
func TestContextThatNobodyWaitsFor(t *testing.T) {
	everywhere(t, func(t *testing.T, carrier string) {
		done := make(chan error, 1)
		p := serve(t, carrier, &ws.Server{}, func(s *session) error {
			err := s.accept()
			for s.ctx.Err() == nil {
				time.Sleep(time.Millisecond)
			}
			done <- context.Cause(s.ctx)
			return err
		}).dial()
		p.raw(closing(1000, ""))
		var gone *pagi.DisconnectError
		if err := testkit.Await(t, done); !errors.As(err, &gone) || gone.Reason != pagi.ReasonClientClosed {
			t.Error(err)
		}
	})
}

// TestApplicationEnds says what the client gets when the application returns.
func TestApplicationEnds(t *testing.T) {
	for name, c := range map[string]struct {
		f    func() error
		code int
		log  string
	}{
		"without an error": {func() error { return nil }, 1000, ""},
		"with one":         {func() error { return errors.New("boom") }, 1011, "boom"},
		"with a panic":     {func() error { panic("boom") }, 1011, "boom"},
		"to be restarted":  {func() error { return &pagi.StatusError{Status: 503, Message: "worker gone"} }, 1012, "worker gone"},
	} {
		t.Run(name, func(t *testing.T) {
			everywhere(t, func(t *testing.T, carrier string) {
				x := serve(t, carrier, &ws.Server{}, func(s *session) error {
					if err := errors.Join(s.accept(), s.text("a")); err != nil {
						return err
					}
					return c.f()
				})
				p := x.dial()
				p.hears(text, "a")
				p.closesWith(c.code)
				p.raw(closing(c.code, ""))
				p.ends()
				x.record()
				if c.log != "" {
					x.log.WaitFor(t, "application failed in a WebSocket", c.log)
				} else if strings.Contains(x.log.String(), "ERROR") {
					t.Error(x.log)
				}
			})
		})
	}
}

// TestCloseIsNotAnswered: the server gives up a client that does not answer a Close frame within
// five seconds.
func TestCloseIsNotAnswered(t *testing.T) {
	for _, carrier := range []string{"http1", "h2"} {
		t.Run(carrier, func(t *testing.T) {
			t.Parallel()
			ends := make(chan pagi.WebSocketDisconnect, 1)
			x := serve(t, carrier, &ws.Server{}, func(s *session) error {
				s.next()
				err := errors.Join(s.accept(), s.send(s.ctx, pagi.WebSocketClose{Code: 1001}))
				ends <- s.next().(pagi.WebSocketDisconnect)
				return err
			})
			p := x.dial()
			p.closesWith(1001)
			ended(t, ends, 1006, pagi.ReasonClientTimeout)
			p.ends()
		})
	}
}

// TestAnswersBeforeTheEnd: the application still answers messages that came before a Close or a
// forbidden frame.
func TestAnswersBeforeTheEnd(t *testing.T) {
	everywhere(t, func(t *testing.T, carrier string) {
		ends := make(chan pagi.WebSocketDisconnect, 1)
		x := serve(t, carrier, &ws.Server{}, func(s *session) error {
			s.next()
			err := s.accept()
			for {
				ev := s.next()
				if end, ok := ev.(pagi.WebSocketDisconnect); ok {
					ends <- end
					return err
				}
				time.Sleep(10 * time.Millisecond)
				err = errors.Join(err, s.send(s.ctx, pagi.WebSocketSend(ev.(pagi.WebSocketReceive))))
			}
		})
		p := x.dial()
		p.raw(append(append(frame(text, "1"), frame(text, "2")...), closing(1000, "")...))
		p.hears(text, "1")
		p.hears(text, "2")
		p.closes(1000)
		ended(t, ends, 1000, "")
	})
}

// TestQueueOverflow floods an application that does not receive.
func TestQueueOverflow(t *testing.T) {
	everywhere(t, func(t *testing.T, carrier string) {
		ends, go_ := make(chan pagi.WebSocketDisconnect, 1), make(chan struct{})
		x := serveWith(t, carrier, &ws.Server{}, &engine.Handler{Limits: engine.Limits{MaxReceiveQueue: 3}}, func(s *session) error {
			s.next()
			err := s.accept()
			<-go_
			for _, want := range []string{"1", "2", "3"} {
				if got, ok := s.next().(pagi.WebSocketReceive); !ok || got.Text != want {
					t.Errorf("got %v, want %s", got, want)
				}
			}
			ends <- s.next().(pagi.WebSocketDisconnect)
			return err
		})
		p := x.dial()
		for _, m := range []string{"1", "2", "3", "4", "5"} {
			p.say(text, m)
		}
		p.closesWith(1008)
		close(go_)
		p.ends()
		x.log.WaitFor(t, "level=WARN", "option=--max-receive-queue")
		ended(t, ends, 1008, pagi.ReasonQueueOverflow)
	})
}

// TestReadingPauses: the server stops reading while much waits for the application, and no message
// is lost. The client sends more than any kernel holds.
func TestReadingPauses(t *testing.T) {
	everywhere(t, func(t *testing.T, carrier string) {
		const size, count = 256 << 10, 128
		server := &ws.Server{MaxFrameSize: size}
		started, got := make(chan struct{}), make(chan int, 1)
		x := serve(t, carrier, server, func(s *session) error {
			s.next()
			err := s.accept()
			<-started
			n := 0
			for {
				m, ok := s.next().(pagi.WebSocketReceive)
				if !ok {
					got <- n
					return err
				}
				n += len(m.Bytes)
			}
		})
		p := x.dial()
		var taken atomic.Int32
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			message := frame(binaryF, strings.Repeat("x", size))
			for range count {
				if _, err := p.w.Write(message); err != nil {
					t.Error(err)
					return
				}
				taken.Add(1)
			}
			_, _ = p.w.Write(closing(1000, ""))
		}()
		for before, still := int32(0), 0; still < 5; { // until nothing is taken any more
			select {
			case <-sent:
				t.Fatal("everything was read although nobody received")
			case <-time.After(30 * time.Millisecond):
			}
			if n := taken.Load(); n != before {
				before, still = n, 0
			} else {
				still++
			}
		}
		close(started)
		if n := testkit.Await(t, got); n != size*count {
			t.Errorf("%d bytes of %d came", n, size*count)
		}
		<-sent
	})
}
