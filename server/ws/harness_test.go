package ws_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/sysio"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/pagi/nethttp"
	"github.com/pagi-go/pagi-bridge/server/http1"
	"github.com/pagi-go/pagi-bridge/server/ws"
)

// engines are the servers through which a WebSocket can come.
var engines = []string{"http1", "net/http", "h2"}

// everywhere runs f once per engine.
func everywhere(t *testing.T, f func(t *testing.T, carrier string)) {
	for _, carrier := range engines {
		t.Run(carrier, func(t *testing.T) { f(t, carrier) })
	}
}

// site is an application behind an engine.
type site struct {
	t       *testing.T
	carrier string
	addr    string
	ws      *ws.Server
	log     *testkit.Log
	done    chan engine.Record
	client  http.RoundTripper // h2
	stop    context.CancelCauseFunc
}

// session is one call of an application.
type session struct {
	ctx     context.Context
	scope   *pagi.Scope
	receive pagi.Receive
	send    pagi.Send
}

func (s *session) accept() error { return s.send(s.ctx, pagi.WebSocketAccept{}) }

func (s *session) text(text string) error { return s.send(s.ctx, pagi.WebSocketSend{Text: text}) }

// next returns the next event; an error of Receive is a panic.
func (s *session) next() pagi.Event {
	ev, err := s.receive(s.ctx)
	if err != nil {
		panic(err)
	}
	return ev
}

// serve starts an application made of f.
func serve(t *testing.T, carrier string, server *ws.Server, f func(*session) error) *site {
	t.Helper()
	return serveWith(t, carrier, server, &engine.Handler{}, f)
}

func serveWith(t *testing.T, carrier string, server *ws.Server, h *engine.Handler, f func(*session) error) *site {
	t.Helper()
	x := &site{t: t, carrier: carrier, ws: server, log: &testkit.Log{}, done: make(chan engine.Record, 100)}
	h.App = pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		return f(&session{ctx, scope, receive, send})
	})
	h.WebSocket, h.Logger = server, x.log.Logger()
	h.Observers = []engine.Observer{engine.ObserverFunc(func(r *engine.Record) { x.done <- *r })}
	ctx, cancel := context.WithCancelCause(context.Background())
	x.stop = cancel
	t.Cleanup(func() { cancel(nil) })
	if carrier == "http1" {
		x.serveHTTP1(ctx, &nethttp.Adapter{Engine: h})
		return x
	}
	srv := httptest.NewUnstartedServer(&nethttp.Adapter{Engine: h})
	srv.Config.BaseContext = func(net.Listener) context.Context { return ctx }
	if carrier == "h2" {
		srv.EnableHTTP2 = true
		srv.StartTLS()
		x.client = testkit.HTTP2(t, srv.Client().Transport.(*http.Transport).TLSClientConfig)
	} else {
		srv.Start()
	}
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	x.addr = srv.Listener.Addr().String()
	return x
}

// thin is a connection as package server hands it on.
type thin struct{ net.Conn }

func (c thin) TryWrite(p []byte) (int, error) {
	if conn, ok := c.Conn.(*sysio.Conn); ok {
		return conn.TryWrite(p)
	}
	return 0, nil
}

func (c thin) CloseWrite() error {
	inner := c.Conn
	if conn, ok := inner.(*sysio.Conn); ok { // with the race detector it is another type
		inner = conn.Conn
	}
	return inner.(interface{ CloseWrite() error }).CloseWrite()
}

func (x *site) serveHTTP1(ctx context.Context, h http.Handler) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		x.t.Fatal(err)
	}
	server := &http1.Server{Handler: h, Context: ctx}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			server.Take(thin{sysio.New(c)}, nil)
		}
	})
	x.t.Cleanup(func() {
		l.Close()
		server.Close()
		serving.Wait()
	})
	x.addr = l.Addr().String()
}

// record waits for the end of a request.
func (x *site) record() engine.Record {
	x.t.Helper()
	return testkit.Await(x.t, x.done)
}

// peer is a client that can also break the protocol.
type peer struct {
	t       *testing.T
	r       *bufio.Reader
	w       io.Writer
	close   func() // drops the connection
	end     func() // ends the client's side
	status  int
	headers http.Header
}

const sampleKey = "dGhlIHNhbXBsZSBub25jZQ=="

// dial makes a handshake; headers are "Name: value".
func (x *site) dial(headers ...string) *peer {
	x.t.Helper()
	if x.carrier == "h2" {
		return x.dialStream(headers)
	}
	c, err := net.Dial("tcp", x.addr)
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { c.Close() })
	head := "GET /chat?room=1 HTTP/1.1\r\nHost: example.org\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n" +
		"Sec-WebSocket-Key: " + sampleKey + "\r\nSec-WebSocket-Version: 13\r\n"
	for _, h := range headers {
		head += h + "\r\n"
	}
	if _, err := io.WriteString(c, head+"\r\n"); err != nil {
		x.t.Fatal(err)
	}
	return newPeer(x.t, c)
}

// newPeer reads the response to the handshake that was sent on c.
func newPeer(t *testing.T, c net.Conn) *peer {
	t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(testkit.Patience))
	p := &peer{t: t, r: bufio.NewReader(c), w: c, close: func() { c.Close() }}
	p.end = func() { _ = c.(interface{ CloseWrite() error }).CloseWrite() }
	res, err := http.ReadResponse(p.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.status, p.headers = res.StatusCode, res.Header
	if p.status != http.StatusSwitchingProtocols {
		p.r = bufio.NewReader(res.Body)
	}
	return p
}

func (x *site) dialStream(headers []string) *peer {
	x.t.Helper()
	body, says := io.Pipe()
	ctx, cancel := context.WithTimeout(context.Background(), testkit.Patience)
	x.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "CONNECT", "https://"+x.addr+"/chat?room=1", body)
	if err != nil {
		x.t.Fatal(err)
	}
	r.Host = "example.org"
	r.Header.Set(":protocol", "websocket")
	r.Header.Set("Sec-WebSocket-Version", "13")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Add(name, value)
	}
	res, err := x.client.RoundTrip(r)
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { res.Body.Close() })
	return &peer{
		t: x.t, r: bufio.NewReader(res.Body), w: says, status: res.StatusCode, headers: res.Header,
		close: func() { res.Body.Close() }, end: func() { says.Close() },
	}
}

var mask = [4]byte{0x37, 0xfa, 0x21, 0x3d}

// frame returns a frame: first is its first byte.
func frame(first byte, payload string) []byte {
	out := []byte{first}
	switch n := len(payload); {
	case n < 126:
		out = append(out, 0x80|byte(n))
	case n < 1<<16:
		out = binary.BigEndian.AppendUint16(append(out, 0x80|126), uint16(n))
	default:
		out = binary.BigEndian.AppendUint64(append(out, 0x80|127), uint64(n))
	}
	out = append(out, mask[:]...)
	for i := range len(payload) {
		out = append(out, payload[i]^mask[i%4])
	}
	return out
}

// First bytes of frames.
const (
	text    = 0x81
	binaryF = 0x82
	closeF  = 0x88
	pingF   = 0x89
	pongF   = 0x8a
)

// closing returns a Close frame.
func closing(code int, reason string) []byte {
	return frame(closeF, string(binary.BigEndian.AppendUint16(nil, uint16(code)))+reason)
}

func (p *peer) raw(b []byte) {
	p.t.Helper()
	if _, err := p.w.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// say sends a frame.
func (p *peer) say(first byte, payload string) {
	p.t.Helper()
	p.raw(frame(first, payload))
}

// hear returns the next frame.
func (p *peer) hear() (first byte, payload string) {
	p.t.Helper()
	first, payload, err := p.read()
	if err != nil {
		p.t.Fatalf("reading a frame: %v", err)
	}
	return first, payload
}

func (p *peer) read() (first byte, payload string, err error) {
	var head [2]byte
	if _, err := io.ReadFull(p.r, head[:]); err != nil {
		return 0, "", err
	}
	if head[1]&0x80 != 0 {
		return 0, "", errors.New("a server's frame must not be masked")
	}
	size := uint64(head[1])
	if size >= 126 {
		more := make([]byte, 2+6*(size-126))
		if _, err := io.ReadFull(p.r, more); err != nil {
			return 0, "", err
		}
		size = binary.BigEndian.Uint64(append(make([]byte, 8-len(more)), more...))
	}
	var b bytes.Buffer
	_, err = io.CopyN(&b, p.r, int64(size))
	return head[0], b.String(), err
}

// hears fails the test unless the next frame is the one given.
func (p *peer) hears(first byte, payload string) {
	p.t.Helper()
	if gotFirst, got := p.hear(); gotFirst != first || got != payload {
		p.t.Fatalf("got frame %#x %.80q (%d bytes), want %#x %.80q (%d bytes)", gotFirst, got, len(got), first, payload, len(payload))
	}
}

// closesWith fails the test unless the next frame is Close with the code.
func (p *peer) closesWith(code int) (reason string) {
	p.t.Helper()
	first, payload := p.hear()
	switch {
	case first != closeF:
		p.t.Fatalf("got frame %#x %.80q, want Close with %d", first, payload, code)
	case code == 1005:
		if payload != "" {
			p.t.Fatalf("got Close with %q, want one without a code", payload)
		}
		return ""
	case len(payload) < 2 || int(binary.BigEndian.Uint16([]byte(payload))) != code:
		p.t.Fatalf("got Close with %q, want %d", payload, code)
	}
	return payload[2:]
}

// closes fails the test unless the next frame is Close with the code and then
// nothing more comes.
func (p *peer) closes(code int) (reason string) {
	p.t.Helper()
	reason = p.closesWith(code)
	p.ends()
	return reason
}

// ends fails the test unless the server says nothing more.
func (p *peer) ends() {
	p.t.Helper()
	if rest, err := io.ReadAll(p.r); len(rest) > 0 || errors.Is(err, context.DeadlineExceeded) {
		p.t.Fatalf("got %q, %v, want the end", rest, err)
	}
}

// echo sends back what it receives, and reports how the WebSocket ended.
func echo(ends chan<- pagi.WebSocketDisconnect) func(*session) error {
	return func(s *session) error {
		s.next()
		if err := s.accept(); err != nil {
			return err
		}
		for {
			switch ev := s.next().(type) {
			case pagi.WebSocketReceive:
				if err := s.send(s.ctx, pagi.WebSocketSend(ev)); err != nil {
					return err
				}
			case pagi.WebSocketDisconnect:
				ends <- ev
				return nil
			}
		}
	}
}

// ended waits for how a WebSocket ended.
func ended(t *testing.T, ends <-chan pagi.WebSocketDisconnect, code int, reason string) {
	t.Helper()
	if got := testkit.Await(t, ends); got != (pagi.WebSocketDisconnect{Code: code, Reason: reason}) {
		t.Errorf("the application was told %d %q, want %d %q", got.Code, got.Reason, code, reason)
	}
}
