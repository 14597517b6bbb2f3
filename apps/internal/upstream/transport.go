package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"time"
)

const (
	// maxHead is the largest head of a response, in bytes.
	maxHead = 64 << 10
	// idleConnTime is how long a connection without a request is kept.
	idleConnTime = time.Minute
	// ExpectTime is how long the body waits for a backend that does not answer an
	// "Expect: 100-continue".
	ExpectTime = time.Second
)

// TransportOptions are those of a Transport.
type TransportOptions struct {
	// ConnectTimeout is how long connecting may take, and again the handshake of TLS.
	ConnectTimeout time.Duration
	// MaxConns is how many requests a backend gets at a time, each on a connection of its own with
	// HTTP/1; 0 or less: any number. WebSockets do not count.
	MaxConns int
	// MaxIdleConns is how many connections without a request are kept for each backend.
	MaxIdleConns int
	// RootCAs verify the backends of https; nil means those of the system.
	RootCAs *x509.CertPool
	// ServerName is the name that certificates must be for; "" means the host of the backend.
	ServerName string
	// Dial connects to a backend; nil means a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Transport sends requests to backends and keeps the connections.
type Transport struct {
	options TransportOptions
	tls     *tls.Config
	h1      *http.Transport // HTTP/1, and HTTP/2 over TLS
	h2c     *http.Transport // HTTP/2 without TLS
	sockets map[*Backend]*http.Transport
	direct  map[*Backend]*Direct
}

// NewTransport returns a Transport for the backends.
func NewTransport(o TransportOptions, backends []*Backend) *Transport {
	if o.Dial == nil {
		o.Dial = (&net.Dialer{Timeout: o.ConnectTimeout}).DialContext
	}
	t := &Transport{
		options: o, tls: &tls.Config{RootCAs: o.RootCAs, ServerName: o.ServerName, MinVersion: tls.VersionTLS12},
		sockets: map[*Backend]*http.Transport{}, direct: map[*Backend]*Direct{},
	}
	t.h1, t.h2c = t.transport(false, ""), t.transport(true, "")
	for _, b := range backends {
		if o.MaxConns > 0 {
			b.slots = make(chan struct{}, o.MaxConns)
		}
		if b.URL.Scheme == "http" && !b.h2c {
			t.direct[b] = &Direct{isFastCGI: b.isFastCGI, maxIdle: o.MaxIdleConns, dial: func(ctx context.Context) (net.Conn, error) {
				return t.connect(ctx, b.socket, "tcp", b.address())
			}}
		}
		if b.socket != "" {
			t.sockets[b] = t.transport(false, b.socket)
		}
	}
	return t
}

func (t *Transport) transport(h2c bool, socket string) *http.Transport {
	o := t.options
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!h2c)
	protocols.SetHTTP2(!h2c)
	protocols.SetUnencryptedHTTP2(h2c)
	return &http.Transport{
		Protocols: protocols,
		HTTP2:     &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			return t.dial(ctx, socket, network, address)
		},
		// A connection is dialled for whichever request needs it first, so the time limits of one
		// request do not end it.
		TLSHandshakeTimeout: o.ConnectTimeout, TLSClientConfig: t.tls,
		MaxIdleConnsPerHost: o.MaxIdleConns, IdleConnTimeout: idleConnTime,
		MaxResponseHeaderBytes: maxHead, ExpectContinueTimeout: ExpectTime, DisableCompression: true,
	}
}

// connect connects to address, or to a Unix socket if that is not "".
func (t *Transport) connect(ctx context.Context, socket, network, address string) (net.Conn, error) {
	if socket != "" {
		network, address = "unix", socket
	}
	return t.options.Dial(ctx, network, address)
}

func (t *Transport) dial(ctx context.Context, socket, network, address string) (net.Conn, error) {
	conn, err := t.connect(ctx, socket, network, address)
	if err != nil {
		return nil, err
	}
	gone, cancel := context.WithCancel(context.Background())
	return &watched{Conn: conn, gone: gone, cancel: cancel}, nil
}

// watched is a connection that tells when it has ended. net/http reads each connection all the
// time, but does not tell a request whose body it waits for.
type watched struct {
	net.Conn
	gone   context.Context
	cancel context.CancelFunc
}

// Read implements net.Conn.
func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if err != nil {
		w.cancel()
	}
	return n, err
}

// Close implements net.Conn.
func (w *watched) Close() error {
	w.cancel()
	return w.Conn.Close()
}

// OnGone calls f on a goroutine of its own when a connection of a Transport has ended. stop ends
// that.
func OnGone(conn net.Conn, f func()) (stop func() bool) {
	if secure, is := conn.(*tls.Conn); is {
		conn = secure.NetConn()
	}
	if w, is := conn.(*watched); is {
		return context.AfterFunc(w.gone, f)
	}
	return func() bool { return true }
}

// Direct returns the short way to a backend that speaks HTTP/1.1 without TLS, or FastCGI; nil to
// another one.
func (t *Transport) Direct(b *Backend) *Direct { return t.direct[b] }

// RoundTrip sends a request to a backend by net/http.
func (t *Transport) RoundTrip(b *Backend, req *http.Request) (*http.Response, error) {
	switch {
	case b.h2c:
		return t.h2c.RoundTrip(req)
	case b.socket != "":
		return t.sockets[b].RoundTrip(req)
	}
	return t.h1.RoundTrip(req)
}

// Dial makes a connection of its own for HTTP/1.1, with TLS if the backend has it.
func (t *Transport) Dial(ctx context.Context, b *Backend) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, t.options.ConnectTimeout)
	defer cancel()
	conn, err := t.dial(ctx, b.socket, "tcp", b.address())
	if err != nil || b.URL.Scheme != "https" {
		return conn, err
	}
	config := t.tls.Clone()
	config.NextProtos = []string{"http/1.1"}
	if config.ServerName == "" {
		config.ServerName = b.URL.Hostname()
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// CloseIdle closes the connections that have no request.
func (t *Transport) CloseIdle() {
	t.h1.CloseIdleConnections()
	t.h2c.CloseIdleConnections()
	for _, socket := range t.sockets {
		socket.CloseIdleConnections()
	}
	for _, d := range t.direct {
		d.closeIdle(0)
	}
}
