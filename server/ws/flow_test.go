package ws_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/server/ws"
)

// block is a message so large that a few of them fill the buffers of the system.
var block = strings.Repeat("x", 256<<10)

// TestFlow lets a client fall behind and catch up: the marks are told in turn, nothing
// is lost, and Send waits meanwhile.
func TestFlow(t *testing.T) {
	everywhere(t, func(t *testing.T, carrier string) {
		var mu sync.Mutex
		var told []string
		tell := func(what string) func() {
			return func() {
				mu.Lock()
				defer mu.Unlock()
				told = append(told, what)
			}
		}
		const count = 100
		behind, done := make(chan int, 1), make(chan error, 1)
		x := serve(t, carrier, &ws.Server{}, func(s *session) error {
			s.next()
			tr := s.scope.Transport
			tr.OnHighWater(tell("high"))
			tr.OnDrain(tell("drain"))
			err := s.accept()
			for range count {
				if err != nil {
					break
				}
				ctx, cancel := context.WithTimeout(s.ctx, 50*time.Millisecond)
				err = s.send(ctx, pagi.WebSocketSend{Text: block})
				cancel()
				if errors.Is(err, context.DeadlineExceeded) { // nothing of it was taken over
					select {
					case behind <- tr.BufferedAmount():
					default:
					}
					err = s.text(block)
				}
			}
			for tr.BufferedAmount() > 0 && s.ctx.Err() == nil {
				time.Sleep(time.Millisecond)
			}
			done <- err
			return err
		})
		p := x.dial()
		if amount := testkit.Await(t, behind); amount < engine.DefaultHighWaterMark || amount > 2*len(block)+engine.DefaultHighWaterMark {
			t.Errorf("while Send waited, %d bytes were buffered", amount)
		}
		for range count {
			p.hears(text, block)
		}
		if err := testkit.Await(t, done); err != nil {
			t.Error(err)
		}
		p.closesWith(1000)
		mu.Lock()
		defer mu.Unlock()
		if len(told) < 2 || len(told)%2 != 0 {
			t.Errorf("told %v", told)
		}
		for i, what := range told {
			if want := []string{"high", "drain"}[i%2]; what != want {
				t.Errorf("told %v, want high and drain in turn", told)
				break
			}
		}
	})
}

// TestSendingAtTheMarks: a callback at a mark sends more than is taken at once.
func TestSendingAtTheMarks(t *testing.T) {
	everywhere(t, func(t *testing.T, carrier string) {
		behind, drained := make(chan struct{}), make(chan struct{})
		var high, low sync.Once
		x := serve(t, carrier, &ws.Server{}, func(s *session) error {
			tr := s.scope.Transport
			err := s.accept()
			sendMore := func() {
				for range 8 {
					if err := s.text(block); err != nil {
						t.Error(err)
					}
				}
			}
			tr.OnHighWater(func() { high.Do(func() { close(behind); sendMore() }) })
			tr.OnDrain(func() { low.Do(func() { sendMore(); close(drained) }) })
			for err == nil {
				select {
				case <-behind:
					testkit.Await(t, drained)
					return errors.Join(err, s.text("end"))
				default:
					err = s.text(block)
				}
			}
			return err
		})
		p := x.dial()
		testkit.Await(t, behind)
		n := 0
		for {
			_, got := p.hear()
			if got == "end" {
				break
			}
			if got != block {
				t.Fatalf("message %d has %d bytes", n, len(got))
			}
			n++
		}
		if n < 17 {
			t.Errorf("%d messages came", n)
		}
		p.closesWith(1000)
	})
}

// TestWriteTimeout: the server gives up a client that takes nothing.
func TestWriteTimeout(t *testing.T) {
	everywhere(t, func(t *testing.T, carrier string) {
		ends := make(chan pagi.WebSocketDisconnect, 1)
		x := serve(t, carrier, &ws.Server{WriteTimeout: 100 * time.Millisecond}, func(s *session) error {
			s.next()
			err := s.accept()
			for err == nil && s.ctx.Err() == nil {
				err = s.text(block)
			}
			ends <- s.next().(pagi.WebSocketDisconnect)
			return err
		})
		x.dial()
		ended(t, ends, 1006, pagi.ReasonWriteTimeout)
		if r := x.record(); r.Reason != pagi.ReasonWriteTimeout || r.Err != nil {
			t.Errorf("record: %q %v", r.Reason, r.Err)
		}
	})
}

// TestSlowIsNotIdle lets a client take its time.
func TestSlowIsNotIdle(t *testing.T) {
	everywhere(t, func(t *testing.T, carrier string) {
		waited := make(chan struct{})
		server := &ws.Server{IdleTimeout: 50 * time.Millisecond}
		p := serveWith(t, carrier, server, &engine.Handler{Limits: engine.Limits{HighWaterMark: 1 << 30}}, func(s *session) error {
			err := s.accept()
			for err == nil && s.scope.Transport.BufferedAmount() < 64*len(block) {
				err = s.text(block)
			}
			time.Sleep(200 * time.Millisecond)
			if s.ctx.Err() != nil {
				t.Errorf("the connection has ended: %v", context.Cause(s.ctx))
			}
			close(waited)
			return errors.Join(err, s.text("end"))
		}).dial()
		testkit.Await(t, waited) // nothing was read until now
		for got := ""; got != "end"; {
			_, got = p.hear()
		}
		p.closesWith(1000)
	})
}

// TestUnheardIsNotIdle: an application takes its time, while the server reads nothing from the
// client.
func TestUnheardIsNotIdle(t *testing.T) {
	everywhere(t, func(t *testing.T, carrier string) {
		const size, count = 256 << 10, 8
		const idle = 200 * time.Millisecond
		p := serve(t, carrier, &ws.Server{MaxFrameSize: size, IdleTimeout: idle}, func(s *session) error {
			s.next()
			err := s.accept()
			time.Sleep(3 * idle)
			for range count {
				if m, ok := s.next().(pagi.WebSocketReceive); !ok || len(m.Bytes) != size {
					return errors.Join(err, errors.New("a message is missing"))
				}
			}
			return errors.Join(err, s.text("end"))
		}).dial()
		go func() {
			message := frame(binaryF, strings.Repeat("x", size))
			for range count {
				if _, err := p.w.Write(message); err != nil {
					t.Error(err)
					return
				}
			}
		}()
		p.hears(text, "end")
		p.closesWith(1000)
	})
}

// TestPingOfAClientThatIsBehind: the ping leaves behind the messages that wait.
func TestPingOfAClientThatIsBehind(t *testing.T) {
	everywhere(t, func(t *testing.T, carrier string) {
		pinged := make(chan struct{})
		p := serveWith(t, carrier, &ws.Server{}, &engine.Handler{Limits: engine.Limits{HighWaterMark: 1 << 30}}, func(s *session) error {
			err := s.accept()
			for err == nil && s.scope.Transport.BufferedAmount() < 4*len(block) {
				err = s.text(block)
			}
			err = errors.Join(err, s.send(s.ctx, pagi.WebSocketKeepalive{Interval: 10 * time.Millisecond}))
			time.Sleep(50 * time.Millisecond)
			err = errors.Join(err, s.send(s.ctx, pagi.WebSocketKeepalive{}), s.text("end"))
			close(pinged)
			return err
		}).dial()
		testkit.Await(t, pinged) // nothing was read until now
		for pings := 0; ; {
			first, got := p.hear()
			if first == pingF {
				pings++
			}
			if got == "end" {
				if pings == 0 {
					t.Error("no ping came")
				}
				break
			}
		}
		p.closesWith(1000)
	})
}

// TestDrainAtAWriteTimeout: a callback that runs when the rest is given up sends more than is taken
// at once.
func TestDrainAtAWriteTimeout(t *testing.T) {
	everywhere(t, func(t *testing.T, carrier string) {
		ends := make(chan pagi.WebSocketDisconnect, 1)
		x := serve(t, carrier, &ws.Server{WriteTimeout: 100 * time.Millisecond}, func(s *session) error {
			s.next()
			err := s.accept()
			s.scope.Transport.OnDrain(func() {
				for range 2 {
					if err := s.text(block); err != nil {
						t.Error(err)
					}
				}
			})
			for err == nil && s.ctx.Err() == nil {
				err = s.text(block)
			}
			ends <- s.next().(pagi.WebSocketDisconnect)
			return err
		})
		x.dial()
		ended(t, ends, 1006, pagi.ReasonWriteTimeout)
		x.record()
	})
}

// TestWriteError tells that the connection broke while something was written.
func TestWriteError(t *testing.T) {
	for _, carrier := range []string{"http1", "net/http"} {
		t.Run(carrier, func(t *testing.T) {
			ends, behind := make(chan pagi.WebSocketDisconnect, 1), make(chan struct{})
			x := serve(t, carrier, &ws.Server{}, func(s *session) error {
				s.next()
				err := s.accept()
				for err == nil && s.scope.Transport.BufferedAmount() == 0 {
					err = s.text(block)
				}
				close(behind)
				for err == nil && s.ctx.Err() == nil {
					err = s.text(block)
				}
				ends <- s.next().(pagi.WebSocketDisconnect)
				return err
			})
			p := x.dial()
			testkit.Await(t, behind)
			p.close() // with much unread: the connection is reset
			if got := testkit.Await(t, ends); got.Code != 1006 || got.Reason != pagi.ReasonWriteError && got.Reason != pagi.ReasonClientClosed {
				t.Errorf("told %+v", got)
			}
		})
	}
}

// TestConcurrentSends: messages arrive whole, those of each sender in their order.
func TestConcurrentSends(t *testing.T) {
	everywhere(t, func(t *testing.T, carrier string) {
		const senders, count = 8, 50
		p := serve(t, carrier, &ws.Server{}, func(s *session) error {
			err := s.accept()
			var sending sync.WaitGroup
			for i := range senders {
				sending.Go(func() {
					for n := range count {
						if err := s.text(strings.Repeat(string(rune('a'+i)), n*100)); err != nil {
							t.Error(err)
						}
					}
				})
			}
			sending.Wait()
			return err
		}).dial()
		next := map[byte]int{}
		for range senders * count {
			first, got := p.hear()
			if first != text {
				t.Fatalf("frame %#x", first)
			}
			if got == "" {
				continue // somebody's first
			}
			sender := got[0]
			next[sender]++
			if got != strings.Repeat(string(rune(sender)), next[sender]*100) {
				t.Fatalf("message %d of %c has %d bytes", next[sender], sender, len(got))
			}
		}
		p.closesWith(1000)
	})
}

// TestBytesOfTheRecord: the record counts the bytes of frames, not those of the handshake.
func TestBytesOfTheRecord(t *testing.T) {
	everywhere(t, func(t *testing.T, carrier string) {
		ends := make(chan pagi.WebSocketDisconnect, 1)
		x := serve(t, carrier, &ws.Server{MaxFrameSize: 1 << 20}, echo(ends))
		p, want := x.dial(), int64(0)
		for _, size := range []int{0, 125, 126, 70_000} {
			p.say(binaryF, strings.Repeat("x", size))
			_, got := p.hear()
			want += int64(2 + len(got))
			switch {
			case size > 1<<16:
				want += 8
			case size > 125:
				want += 2
			}
		}
		p.say(pingF, "p")
		p.hears(pongF, "p")
		p.raw(closing(1000, ""))
		p.closes(1000)
		if r := x.record(); r.Bytes != want+3+4 {
			t.Errorf("%d bytes, want %d", r.Bytes, want+3+4)
		}
	})
}

// TestSlowFrameIsNotIdle lets one come byte by byte.
func TestSlowFrameIsNotIdle(t *testing.T) {
	everywhere(t, func(t *testing.T, carrier string) {
		t.Parallel()
		ends := make(chan pagi.WebSocketDisconnect, 1)
		p := serve(t, carrier, &ws.Server{IdleTimeout: time.Second}, echo(ends)).dial()
		for _, b := range frame(text, "as slow as it can be") {
			p.raw([]byte{b})
			time.Sleep(80 * time.Millisecond)
		}
		p.hears(text, "as slow as it can be")
		p.raw(closing(1000, ""))
		p.closes(1000)
		ended(t, ends, 1000, "")
	})
}
