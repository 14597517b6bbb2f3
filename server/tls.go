package server

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// tlsConfig returns the configuration the options describe; nil for none.
func (s *Server) tlsConfig() (*tls.Config, error) {
	config := s.TLSConfig.Clone()
	switch {
	case config != nil && (s.TLSCert != "" || s.TLSKey != ""):
		return nil, errors.New("server: TLSConfig and certificate files exclude one another")
	case config == nil && s.TLSCert == "" && s.TLSKey == "":
		return nil, nil
	case config == nil:
		if s.TLSCert == "" || s.TLSKey == "" {
			return nil, errors.New("server: TLS needs both a certificate file and a key file")
		}
		pair, err := tls.LoadX509KeyPair(s.TLSCert, s.TLSKey)
		if err != nil {
			return nil, fmt.Errorf("server: TLS certificate %s with key %s: %w", s.TLSCert, s.TLSKey, err)
		}
		config = &tls.Config{Certificates: []tls.Certificate{pair}}
	}
	if config.MinVersion < tls.VersionTLS12 {
		config.MinVersion = tls.VersionTLS12
	}
	if config.NextProtos == nil {
		config.NextProtos = []string{"h2", "http/1.1"}
	}
	return config, nil
}

// serverCert returns what HTTPHandler.ServerCert asks for. It is known where the
// configuration leaves no choice.
func serverCert(config *tls.Config) func(*http.Request) string {
	if len(config.Certificates) != 1 || len(config.Certificates[0].Certificate) == 0 ||
		config.GetCertificate != nil || config.GetConfigForClient != nil {
		return nil
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: config.Certificates[0].Certificate[0]}))
	return func(*http.Request) string { return text }
}

// tlsListener does the TLS handshake on connections, serves those that speak HTTP/1
// and hands out, to net/http, those that speak HTTP/2.
type tlsListener struct {
	net.Listener
	r      *running
	ready  chan net.Conn
	failed chan error

	ctx       context.Context // of all handshakes; ends when the listener is closed
	cancel    context.CancelFunc
	closeOnce sync.Once
	closeErr  error
	running   sync.WaitGroup
}

func newTLSListener(inner net.Listener, r *running) *tlsListener {
	l := &tlsListener{Listener: inner, r: r, ready: make(chan net.Conn), failed: make(chan error)}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.running.Go(l.acceptAll)
	return l
}

func (l *tlsListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.ready:
		return c, nil
	case err := <-l.failed:
		return nil, err
	case <-l.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close ends the accepting and all handshakes and waits for them.
func (l *tlsListener) Close() error {
	l.closeOnce.Do(func() {
		l.cancel()
		l.closeErr = l.Listener.Close()
		l.running.Wait()
	})
	return l.closeErr
}

func (l *tlsListener) acceptAll() {
	for {
		c, err := l.r.accept(l.Listener)
		if err == nil {
			l.running.Go(func() { l.handshake(c) })
			continue
		}
		select {
		case l.failed <- err: // net/http waits a while or gives up, and closes us then
		case <-l.ctx.Done():
			return
		}
	}
}

// handshake makes a connection ready and gives it to whom it belongs.
func (l *tlsListener) handshake(c *tracked) {
	ctx, cancel := context.WithCancel(l.ctx)
	if d := orDefault(l.r.HeaderTimeout, DefaultHeaderTimeout); d > 0 {
		ctx, cancel = context.WithTimeout(l.ctx, d)
	}
	defer cancel()
	conn := tls.Server(c, l.r.tls)
	if err := conn.HandshakeContext(ctx); err != nil {
		l.r.log.Debug("TLS handshake failed", "client", c.RemoteAddr().String(), "error", err)
		answerPlain(err)
		_ = c.Close() // it never was of use
		return
	}
	c.served.Store(true)
	state := conn.ConnectionState()
	if state.NegotiatedProtocol != "h2" {
		l.r.http1.Take(conn, &state)
		return
	}
	select {
	case l.ready <- conn:
	case <-l.ctx.Done():
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
