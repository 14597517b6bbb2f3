package server

import (
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pagi-go/pagi-bridge/internal/sysio"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// connSet knows the open connections.
type connSet struct {
	mu     sync.Mutex
	conns  map[*tracked]struct{}
	counts map[string]int // by address, where their number is limited
}

// add counts a connection in, unless limit (0: none) is reached.
func (s *connSet) add(c net.Conn, on *listener, limit int) *tracked {
	s.mu.Lock()
	defer s.mu.Unlock()
	if limit > 0 && len(s.conns) >= limit {
		return nil
	}
	if s.conns == nil {
		s.conns = map[*tracked]struct{}{}
	}
	t := &tracked{Conn: sysio.New(c), inner: c, set: s, on: on}
	s.conns[t] = struct{}{}
	return t
}

// claim counts a connection among those of its address and reports whether it is
// within the limit on these.
func (s *connSet) claim(c *tracked, limit int) bool {
	key := addressKey(c.RemoteAddr())
	if key == "" {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.counts[key] >= limit {
		return false
	}
	if s.counts == nil {
		s.counts = map[string]int{}
	}
	s.counts[key]++
	c.counted = key
	return true
}

func (s *connSet) remove(c *tracked) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.conns[c]; !there {
		return
	}
	delete(s.conns, c)
	if c.counted == "" {
		return
	}
	if s.counts[c.counted]--; s.counts[c.counted] <= 0 {
		delete(s.counts, c.counted)
	}
}

func (s *connSet) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// closeUnserved closes the connections that are still in their TLS handshake.
func (s *connSet) closeUnserved() {
	s.mu.Lock()
	var unserved []*tracked
	for c := range s.conns {
		if !c.served.Load() {
			unserved = append(unserved, c)
		}
	}
	s.mu.Unlock()
	for _, c := range unserved {
		_ = c.Close() // nothing was said on it that could be lost
	}
}

// addressKey is what the connections from one address have in common; "" for those of
// a Unix socket.
func addressKey(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return ""
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	if addr.Is6() {
		return netip.PrefixFrom(addr, 64).Masked().String()
	}
	return addr.String()
}

// defaultMaxConnections leaves a fifth of the descriptors for everything else.
var defaultMaxConnections = sync.OnceValue(func() int {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur >= 1<<30 {
		return -1 // as good as none
	}
	return int(limit.Cur / 5 * 4)
})

// plainListener accepts connections that speak HTTP from their first byte on.
type plainListener struct {
	*listener
	r *running
}

func (l plainListener) Accept() (net.Conn, error) {
	for {
		c, err := l.r.accept(l.listener)
		if err != nil {
			return nil, err
		}
		if l.r.admit(c) {
			c.served.Store(true)
			return c, nil
		}
	}
}

// accept returns the next connection within the limit on their number.
func (r *running) accept(l *listener) (*tracked, error) {
	for {
		c, err := l.Accept()
		if err != nil {
			return nil, err
		}
		if err := limitUnsent(c); err != nil {
			r.log.Debug("connection without a limit on what is unsent", "client", c.RemoteAddr().String(), "error", err)
		}
		limit := r.current.Load().connLimit
		if t := r.conns.add(c, l, limit); t != nil {
			return t, nil
		}
		r.refuse(c, l.tls || l.place.Proxy, "too many connections", "--max-connections", limit)
	}
}

// admit closes a connection that is one too many of its address, and reports whether
// it is not. What the client's address is must be known.
func (r *running) admit(c *tracked) bool {
	limit := r.current.Load().MaxConnectionsPerAddress
	if limit <= 0 || r.conns.claim(c, limit) {
		return true
	}
	r.refuse(c, c.on.tls, "too many connections from one address", "--max-connections-per-address", limit)
	return false
}

// refuse turns a connection away that is one too many.
func (r *running) refuse(c net.Conn, mute bool, msg, option string, limit int) {
	client := c.RemoteAddr().String()
	r.warnings.warn(msg, "option", option, "limit", limit, "client", client)
	record := pagi.HTTPRecord{Request: &http.Request{RemoteAddr: client}, Status: http.StatusServiceUnavailable, Begin: time.Now()}
	if !mute {
		const text = "Service Unavailable\n"
		// An empty send buffer takes this at once; the deadline is for the rest.
		_ = c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		_, record.Err = io.WriteString(c, "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\n"+
			"Retry-After: 1\r\nConnection: close\r\nContent-Length: 20\r\n\r\n"+text)
		if record.Err == nil {
			record.Bytes = int64(len(text))
		}
	}
	_ = c.Close() // it got an answer or it did not
	record.Duration = time.Since(record.Begin)
	r.record(&record)
}

// record tells the access log of what no application was called for.
func (r *running) record(record *pagi.HTTPRecord) {
	if done := r.current.Load().engine.Done; done != nil {
		done(record)
	}
}
