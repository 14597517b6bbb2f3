package ws_test

import (
	"errors"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/server/ws"
)

// TestKeepalive says that the last websocket.keepalive counts, and that an interval of 0
// ends it.
func TestKeepalive(t *testing.T) {
	everywhere(t, func(t *testing.T, carrier string) {
		step := make(chan struct{})
		p := serve(t, carrier, &ws.Server{}, func(s *session) error {
			keepalive := func(interval time.Duration) error {
				return s.send(s.ctx, pagi.WebSocketKeepalive{Interval: interval})
			}
			await := func() {
				select {
				case <-step:
				case <-s.ctx.Done():
				}
			}
			err := errors.Join(s.accept(), keepalive(time.Hour), keepalive(time.Millisecond))
			await()
			err = errors.Join(err, keepalive(0), s.text("stopped"))
			time.Sleep(50 * time.Millisecond) // in which nothing must come
			err = errors.Join(err, s.text("go on"), keepalive(time.Millisecond))
			await()
			err = errors.Join(err, keepalive(time.Hour), s.text("slow"))
			time.Sleep(50 * time.Millisecond) // likewise
			return err
		}).dial()
		pings := func(until string) (n int) {
			for {
				switch first, got := p.hear(); {
				case first == pingF:
					n++
				case got == until:
					return n
				default:
					t.Fatalf("frame %#x %q", first, got)
				}
			}
		}
		for range 3 {
			p.hears(pingF, "")
		}
		step <- struct{}{}
		pings("stopped")
		if n := pings("go on"); n > 1 { // one may have been on its way
			t.Errorf("%d pings came after the end", n)
		}
		for range 3 {
			p.hears(pingF, "")
		}
		step <- struct{}{}
		pings("slow")
		if n := pings("\x03\xe8"); n > 1 {
			t.Errorf("%d pings came within an hour", n)
		}
	})
}
