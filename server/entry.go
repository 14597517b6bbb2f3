package server

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// entry prepares a connection before it speaks HTTP: it reads the PROXY header and does the TLS
// handshake. It serves the connections that speak HTTP/1 and hands out, to net/http, those that
// speak HTTP/2.
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
		_ = e.listener.Close() // its owner learns of the error, too
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
		case e.failed <- err: // net/http waits for a while, or gives up and closes the entry
		case <-e.ctx.Done():
			return
		}
	}
}

// let prepares a connection and gives it to the server of its protocol.
func (e *entry) let(c *tracked) {
	if e.ctx.Err() != nil { // closeUnserved may have missed this connection
		_ = c.Close()
		return
	}
	limit := e.r.current.Load().limits().HeadTimeout
	if e.place.Proxy {
		if err := e.r.readProxyHeader(c, limit); err != nil {
			e.r.warnProxy(c, err)
			_ = c.Close() // no request has come yet
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
	// A deadline and closing the connection replace a context, at less cost.
	_ = c.limit(limit) // if it cannot be set, the handshake fails
	if err := conn.Handshake(); err != nil {
		client := c.RemoteAddr().String()
		e.r.log.Debug("TLS handshake failed", "client", client, "error", err)
		if reason := answerPlain(err); reason != "" {
			e.r.warnings.warn("request is refused", "status", http.StatusBadRequest, "reason", reason, "client", client)
		}
		_ = c.Close() // the connection was never usable
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
		_ = conn.Close() // no server takes it any more
	}
}

// answerPlain tells a client that speaks HTTP without TLS what is wrong, and returns that reason.
// It returns "" for a client that speaks something else.
func answerPlain(err error) (reason string) {
	var header tls.RecordHeaderError
	if !errors.As(err, &header) || header.Conn == nil {
		return ""
	}
	methods := []string{"GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH", "CONNE", "TRACE", "PRI *"}
	switch begin := string(header.RecordHeader[:]); {
	case begin == "PROXY":
		return "the connection begins with a PROXY header, and this address has not the option proxy"
	case !slices.Contains(methods, begin):
		return ""
	}
	_ = header.Conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = io.WriteString(header.Conn, "HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"+
		"Connection: close\r\n\r\nThis port speaks HTTPS.\n")
	return "the client speaks HTTP without TLS, and this address speaks TLS"
}
