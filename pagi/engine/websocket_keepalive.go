package engine

import (
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// keepalive pings the client, and notices that it does not answer.
type keepalive struct {
	mu       sync.Mutex
	turn     int // grows with each start and stop: a timer of an earlier turn does nothing
	interval time.Duration
	timeout  time.Duration
	next     *time.Timer // the next ping
	late     *time.Timer // when the pong is late; nil: none is awaited
}

// keepAlive begins to ping, or stops it.
func (s *WebSocketSession) keepAlive(conn WebSocketConn, e pagi.WebSocketKeepalive) {
	k := &s.beat
	s.mu.Lock() // held until the timer runs: the goroutine that ends the session then finds a timer to stop
	defer s.mu.Unlock()
	k.stop()
	if e.Interval <= 0 || s.end != nil || s.returned || s.phase != wsOpen {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.interval, k.timeout = e.Interval, e.Timeout
	turn := k.turn
	k.next = time.AfterFunc(e.Interval, func() { s.ping(conn, turn) })
}

// ping runs when it is time to.
func (s *WebSocketSession) ping(conn WebSocketConn, turn int) {
	k := &s.beat
	k.mu.Lock()
	if k.turn != turn {
		k.mu.Unlock()
		return
	}
	if k.timeout > 0 && k.late == nil {
		k.late = time.AfterFunc(k.timeout, func() { s.pongIsLate(conn, turn) })
	}
	k.next.Reset(k.interval)
	k.mu.Unlock()
	conn.Ping()
}

// pong is called when one has come.
func (k *keepalive) pong() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.late != nil {
		k.late.Stop()
		k.late = nil
	}
}

// pongIsLate gives the connection up. While the application is so far behind that
// nothing is read from the client, the pong may be there, unread.
func (s *WebSocketSession) pongIsLate(conn WebSocketConn, turn int) {
	s.mu.Lock()
	paused := s.paused
	s.mu.Unlock()
	k := &s.beat
	k.mu.Lock()
	late := k.turn == turn && k.late != nil // else it came just now
	if late && paused {
		k.late.Reset(k.timeout)
		late = false
	}
	k.mu.Unlock()
	if late {
		s.finish(&WebSocketEnd{Code: closeAbnormal, Reason: pagi.ReasonKeepaliveTimeout})
		conn.Drop()
	}
}

// stop ends the pinging.
func (k *keepalive) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.turn++
	for _, timer := range []*time.Timer{k.next, k.late} {
		if timer != nil {
			timer.Stop()
		}
	}
	k.next, k.late = nil, nil
}
