package server

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"time"
)

// entry does what must be done on a connection before it speaks HTTP: it reads the
// PROXY header and does the TLS handshake. It serves the connections that speak HTTP/1
// and hands out, to net/http, those that speak HTTP/2.
type entry struct {
	*listener
	r      *running
	ready  chan net.Conn
	failed chan error

	ctx       context.Context // of all handshakes; ends when the entry is closed
	cancel    context.CancelFunc
	closeOnce sync.Once
	running   sync.WaitGroup
}

func newEntry(l *listener, r *running) *entry {
	e := &entry{listener: l, r: r, ready: make(chan net.Conn), failed: make(chan error)}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.enter(e.acceptAll)
	return e
}

// enter runs f, which Close waits for.
func (e *entry) enter(f func()) {
	e.r.entering.Add(1)
	e.running.Go(func() {
		defer e.r.entering.Add(-1)
		f()
	})
}

// Accept returns the next connection that speaks HTTP/2.
func (e *entry) Accept() (net.Conn, error) {
	select {
	case c := <-e.ready:
		return c, nil
	case err := <-e.failed:
		return nil, err
	case <-e.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close ends the accepting and all handshakes and waits for them.
func (e *entry) Close() error {
	e.closeOnce.Do(func() {
		e.cancel()
		_ = e.listener.Close() // it tells its owner
		e.r.conns.closeUnserved()
		e.running.Wait()
	})
	return nil
}

func (e *entry) acceptAll() {
	for {
		c, err := e.r.accept(e.listener)
		if err == nil {
			e.enter(func() { e.let(c) })
			continue
		}
		if e.r.stopping.Err() != nil {
			return // handshakes go on until the entry is closed
		}
		select {
		case e.failed <- err: // net/http waits a while or gives up, and closes us then
		case <-e.ctx.Done():
			return
		}
	}
}

// let makes a connection ready and gives it to whom it belongs.
func (e *entry) let(c *tracked) {
	if e.ctx.Err() != nil { // Close may have missed it
		_ = c.Close()
		return
	}
	limit := e.r.current.Load().limits().HeadTimeout
	if e.place.Proxy {
		if err := e.r.readProxyHeader(c, limit); err != nil {
			e.r.warnings.warn("connection is not from a proxy that may connect", "option", "--proxy-protocol-from",
				"peer", c.inner.RemoteAddr().String(), "error", err)
			_ = c.Close() // nothing was said on it
			return
		}
	}
	if !e.r.admit(c) {
		return
	}
	if !e.tls {
		c.served.Store(true)
		e.r.plainServer(e.listener).Take(c, nil)
		return
	}
	conn := tls.Server(c, e.r.tls.config.Load())
	// A deadline and the connection's end do what a context would, at less cost.
	_ = c.limit(limit) // where it cannot be set, the handshake tells
	if err := conn.Handshake(); err != nil {
		e.r.log.Debug("TLS handshake failed", "client", c.RemoteAddr().String(), "error", err)
		answerPlain(err)
		_ = c.Close() // it never was of use
		return
	}
	_ = c.limit(0)
	c.served.Store(true)
	state := conn.ConnectionState()
	c.info = e.r.tls.facts(c.cert, &state)
	if state.NegotiatedProtocol != "h2" {
		e.r.http1.Take(conn, &state)
		return
	}
	select {
	case e.ready <- e.r.http2Conn(conn, &state, nil):
	case <-e.ctx.Done():
		_ = conn.Close() // nobody takes it any more
	}
}

// answerPlain tells a client that speaks HTTP without TLS what is wrong.
func answerPlain(err error) {
	var header tls.RecordHeaderError
	if !errors.As(err, &header) || header.Conn == nil {
		return
	}
	methods := []string{"GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH"}
	if !slices.Contains(methods, string(header.RecordHeader[:])) {
		return
	}
	_ = header.Conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = io.WriteString(header.Conn, "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"+
		"Connection: close\r\n\r\nThis port speaks HTTPS.\n")
}
