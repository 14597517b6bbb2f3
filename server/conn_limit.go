package server

import (
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pagi-go/pagi-bridge/internal/accept"
	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/internal/sysio"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// connSet is the set of open connections.
type connSet struct {
	mu     sync.Mutex
	conns  map[*tracked]struct{}
	quic   int            // those of HTTP/3
	http2  int            // those of conns that speak HTTP/2
	came   int64          // all there have been, those that were turned away included
	counts map[string]int // of all, by address, where their number is limited
}

// add adds a connection, unless limit (0: none) is reached.
func (s *connSet) add(c net.Conn, on *listener, limit int) *tracked {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.came++
	if limit > 0 && len(s.conns)+s.quic >= limit {
		return nil
	}
	if s.conns == nil {
		s.conns = map[*tracked]struct{}{}
	}
	t := &tracked{Conn: sysio.New(c), inner: c, set: s, on: on}
	s.conns[t] = struct{}{}
	return t
}

// claim counts a connection for its address. It reports whether the address stays within its limit.
func (s *connSet) claim(c *tracked, limit int) bool {
	key := addressKey(c.RemoteAddr())
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.claimLocked(key, limit) {
		return false
	}
	c.counted = key
	return true
}

func (s *connSet) claimLocked(key string, limit int) bool {
	if key == "" {
		return true
	}
	if s.counts[key] >= limit {
		return false
	}
	if s.counts == nil {
		s.counts = map[string]int{}
	}
	s.counts[key]++
	return true
}

func (s *connSet) unclaimLocked(key string) {
	if key == "" {
		return
	}
	if s.counts[key]--; s.counts[key] <= 0 {
		delete(s.counts, key)
	}
}

// addQUIC counts a connection of HTTP/3, unless one of the limits (0: none) is reached. With a
// limit per address it also counts the connection for its address. remove undoes the counting.
func (s *connSet) addQUIC(client net.Addr, limit, perAddress int) (remove func(), ok bool) {
	key := ""
	if perAddress > 0 {
		key = addressKey(client)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.came++
	if limit > 0 && len(s.conns)+s.quic >= limit || !s.claimLocked(key, perAddress) {
		return nil, false
	}
	s.quic++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.quic--
		s.unclaimLocked(key)
	}, true
}

// isFull reports whether an address has limit connections already.
func (s *connSet) isFull(client net.Addr, limit int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[addressKey(client)] >= limit
}

func (s *connSet) remove(c *tracked) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.conns[c]; !there {
		return
	}
	delete(s.conns, c)
	if c.http2 {
		s.http2--
	}
	s.unclaimLocked(c.counted)
}

// speaksHTTP2 notes that HTTP/2 is spoken on a connection, or on one below that of TLS.
func (s *connSet) speaksHTTP2(conn net.Conn) {
	if secure, is := conn.(*tls.Conn); is {
		conn = secure.NetConn()
	}
	c, is := conn.(*tracked)
	if !is {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.conns[c]; there && !c.http2 {
		c.http2 = true
		s.http2++
	}
}

// protocols returns how many connections are open, by protocol.
func (s *connSet) protocols() status.Protocols {
	s.mu.Lock()
	defer s.mu.Unlock()
	return status.Protocols{HTTP1: len(s.conns) - s.http2, HTTP2: s.http2, HTTP3: s.quic}
}

func (s *connSet) len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns) + s.quic
}

// count returns how many connections are open, and how many there have been.
func (s *connSet) count() (open int, came int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns) + s.quic, s.came
}

// noteRefused counts a connection that was turned away before it was there.
func (s *connSet) noteRefused() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.came++
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
		_ = c.Close() // the client lost nothing: no request has come yet
	}
}

// addressKey returns the key under which connections from one address are counted; "" for those of
// a Unix socket.
func addressKey(a net.Addr) string {
	ip, ok := a.(interface{ AddrPort() netip.AddrPort }) // an address of TCP or UDP
	if !ok {
		return ""
	}
	addr := ip.AddrPort().Addr().Unmap().WithZone("")
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
		c, err := accept.Connection(l.Accept, r.stopping.Done(), r.log, l.Addr())
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

// admit closes a connection that exceeds the limit of its address. It reports whether the
// connection may go on. The client's address must be known by then.
func (r *running) admit(c *tracked) bool {
	limit := r.current.Load().MaxConnectionsPerAddress
	if limit <= 0 || r.conns.claim(c, limit) {
		return true
	}
	r.refuse(c, c.on.tls, manyOfOneAddress, "--max-connections-per-address", limit)
	return false
}

// warnPerAddress logs a connection of HTTP/3 that exceeds the limit of its address.
func (r *running) warnPerAddress(client net.Addr, limit int) {
	r.warnings.warn(manyOfOneAddress, "option", "--max-connections-per-address", "limit", limit, "client", client.String())
}

// manyOfOneAddress is the warning about too many connections from one address.
const manyOfOneAddress = "too many connections from one address"

// refuse closes a connection that exceeds a limit. Unless mute is set it answers first.
func (r *running) refuse(c net.Conn, mute bool, msg, option string, limit int) {
	client := c.RemoteAddr().String()
	r.warnings.warn(msg, "option", option, "limit", limit, "client", client)
	record := engine.Record{Request: &http.Request{RemoteAddr: client}, Status: http.StatusServiceUnavailable, Begin: time.Now()}
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
	_ = c.Close() // an error does not matter: the answer was sent or lost
	record.Duration = time.Since(record.Begin)
	r.traffic.connectionsRefused.Add(1)
	r.current.Load().engine.Observe(&record)
}
