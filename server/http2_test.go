package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/pagi/request"
	"github.com/pagi-go/pagi-bridge/server/http2"
)

// peer is an HTTP/2 client that can send frames that correct clients never send.
type peer struct {
	t testing.TB
	*xhttp2.Framer
	conn   net.Conn
	block  bytes.Buffer
	fields *hpack.Encoder
	path   string // of its requests
	scheme string
}

// speak begins HTTP/2 on conn.
func speak(t testing.TB, conn net.Conn) *peer {
	t.Helper()
	t.Cleanup(func() { _ = conn.Close() }) // most tests have closed it
	if err := conn.SetDeadline(time.Now().Add(testkit.Patience)); err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, Framer: xhttp2.NewFramer(conn, conn), conn: conn, path: "/p", scheme: "http"}
	if _, secure := conn.(*tls.Conn); secure {
		p.scheme = "https"
	}
	p.fields = hpack.NewEncoder(&p.block)
	p.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	if _, err := io.WriteString(conn, http2.Preface); err != nil {
		t.Fatal(err)
	}
	return p
}

// h2 starts s with h2c and connects to it, or over TLS.
func h2(t testing.TB, x *site, pair *testkit.Pair) *peer {
	t.Helper()
	conn, err := net.Dial("tcp", x.addr)
	if err != nil {
		t.Fatal(err)
	}
	if pair != nil {
		conn = tls.Client(conn, &tls.Config{RootCAs: pair.Pool, ServerName: "127.0.0.1", NextProtos: []string{"h2"}})
	}
	p := speak(t, conn)
	p.must(p.WriteSettings())
	return p
}

func (p *peer) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// request sends a request's head, with further fields as name, value pairs.
func (p *peer) request(stream uint32, method string, end bool, pairs ...string) {
	p.t.Helper()
	p.must(p.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: stream, BlockFragment: p.encode(method, pairs...), EndHeaders: true, EndStream: end}))
}

func (p *peer) encode(method string, pairs ...string) []byte {
	p.block.Reset()
	pairs = append([]string{":method", method, ":scheme", p.scheme, ":authority", "x", ":path", p.path}, pairs...)
	for i := 0; i < len(pairs); i += 2 {
		p.must(p.fields.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]}))
	}
	return bytes.Clone(p.block.Bytes())
}

// until reads frames until f returns true, and returns the last frame that f saw. The error is that
// of reading.
func (p *peer) until(f func(xhttp2.Frame) bool) (xhttp2.Frame, error) {
	for {
		frame, err := p.ReadFrame()
		if err != nil || f(frame) {
			return frame, err
		}
	}
}

// answer reads the response on a stream: its status and body, or how it was reset.
func (p *peer) answer(stream uint32) string {
	p.t.Helper()
	status, body := "", ""
	frame, err := p.until(func(f xhttp2.Frame) bool {
		if f.Header().StreamID != stream {
			bye, is := f.(*xhttp2.GoAwayFrame)
			return is && bye.ErrCode != xhttp2.ErrCodeNo
		}
		switch f := f.(type) {
		case *xhttp2.MetaHeadersFrame:
			status += f.PseudoValue("status")
			return f.StreamEnded()
		case *xhttp2.DataFrame:
			body += string(f.Data())
			return f.StreamEnded()
		case *xhttp2.RSTStreamFrame:
			return true
		}
		return false
	})
	switch f := frame.(type) {
	case *xhttp2.RSTStreamFrame:
		return strings.TrimSpace(status + " " + f.ErrCode.String())
	case *xhttp2.GoAwayFrame:
		return "GOAWAY " + f.ErrCode.String()
	}
	if err != nil {
		return "closed"
	}
	return status + " " + body
}

// onH2 runs a test over TLS and without it.
func onH2(t *testing.T, f func(t *testing.T, launch func(*Server) (*site, *peer))) {
	t.Helper()
	for _, secure := range []bool{true, false} {
		t.Run(map[bool]string{true: "TLS", false: "h2c"}[secure], func(t *testing.T) {
			f(t, func(s *Server) (*site, *peer) {
				if !secure {
					s.H2C = true
					x := launch(t, s)
					return x, h2(t, x, nil)
				}
				pair := testkit.Certificate(t)
				s.TLSCert, s.TLSKey = pair.CertFile, pair.KeyFile
				x := launch(t, s)
				return x, h2(t, x, pair)
			})
		})
	}
}

func TestRequestsPerHTTP2Connection(t *testing.T) {
	onH2(t, func(t *testing.T, launch func(*Server) (*site, *peer)) {
		hints := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
			if err := send(ctx, pagi.HTTPResponseInformational{Status: 103, Headers: pagi.NewHeaders("link", "</a>")}); err != nil {
				return err
			}
			return echo.Serve(ctx, scope, receive, send)
		})
		_, p := launch(&Server{App: hints, Limits: Limits{MaxRequestsPerConnection: 2}})
		p.request(1, "GET", true)
		if got := p.answer(1); got != "103200 /p " {
			t.Errorf("the first: %s", got)
		}
		p.request(3, "GET", true)
		said := false
		frame, err := p.until(func(f xhttp2.Frame) bool {
			switch f := f.(type) {
			case *xhttp2.GoAwayFrame:
				said = said || f.ErrCode == xhttp2.ErrCodeNo
			case *xhttp2.MetaHeadersFrame:
				for _, field := range f.RegularFields() {
					if field.Name == "connection" {
						t.Errorf("a header that HTTP/2 forbids: %v", f.Fields)
					}
				}
			}
			return said && f.Header().StreamID == 3 && f.Header().Flags.Has(xhttp2.FlagDataEndStream)
		})
		if err != nil {
			t.Fatalf("the last: %v, %v, GOAWAY: %v", frame, err, said)
		}
		if _, err := p.until(func(xhttp2.Frame) bool { return false }); !errors.Is(err, io.EOF) {
			t.Errorf("the connection ends with %v", err)
		}
	})
}

func TestRepeatedHTTP2Settings(t *testing.T) {
	onH2(t, func(t *testing.T, launch func(*Server) (*site, *peer)) {
		_, p := launch(&Server{App: echo})
		window := func(n uint32) xhttp2.Setting { return xhttp2.Setting{ID: xhttp2.SettingInitialWindowSize, Val: n} }
		p.must(p.WriteSettings(window(100), xhttp2.Setting{ID: xhttp2.SettingEnablePush, Val: 0}, window(3)))
		p.request(1, "GET", true)
		frame, err := p.until(func(f xhttp2.Frame) bool { return f.Header().Type == xhttp2.FrameData })
		if err != nil || string(frame.(*xhttp2.DataFrame).Data()) != "/p " {
			t.Errorf("%v, %v", frame, err)
		}
		// A wrong value is an error even if a right one follows.
		p.must(p.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingEnablePush, Val: 2}, xhttp2.Setting{ID: xhttp2.SettingEnablePush, Val: 0}))
		if got := p.answer(3); got != "GOAWAY PROTOCOL_ERROR" {
			t.Error(got)
		}
	})
}

// TestHeaderTableSizeChanges: responses are encoded while the client changes the size of the
// table they are encoded with.
func TestHeaderTableSizeChanges(t *testing.T) {
	onH2(t, func(t *testing.T, launch func(*Server) (*site, *peer)) {
		_, p := launch(&Server{App: echo})
		size := func(n uint32) {
			t.Helper()
			p.must(p.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingHeaderTableSize, Val: n}))
		}
		stream := uint32(1)
		for range 50 {
			size(4096)
			p.request(stream, "GET", true)
			size(65536)
			p.request(stream+2, "GET", true)
			fine, ended := 0, 0
			_, err := p.until(func(f xhttp2.Frame) bool {
				if head, is := f.(*xhttp2.MetaHeadersFrame); is && head.PseudoValue("status") == "200" {
					fine++
				}
				if f.Header().StreamID != 0 && f.Header().Flags.Has(xhttp2.FlagDataEndStream) {
					ended++
				}
				return ended == 2
			})
			if err != nil || fine != 2 {
				t.Fatalf("%d of 2 responses: %v", fine, err)
			}
			stream += 4
		}
		size(0)
		var late net.Error
		if frame, err := p.until(func(xhttp2.Frame) bool { return false }); errors.As(err, &late) && late.Timeout() {
			t.Errorf("a smaller table: the connection goes on: %v, %v", frame, err)
		}
	})
}

// The server keeps to a header table that is small from the beginning.
func TestNoHeaderTable(t *testing.T) {
	x := launch(t, &Server{App: echo, H2C: true})
	conn, err := net.Dial("tcp", x.addr)
	if err != nil {
		t.Fatal(err)
	}
	p := speak(t, conn)
	p.must(p.WriteSettings(xhttp2.Setting{ID: xhttp2.SettingHeaderTableSize, Val: 0}))
	p.ReadMetaHeaders = hpack.NewDecoder(0, nil)
	for stream := uint32(1); stream < 20; stream += 2 {
		p.request(stream, "GET", true)
		if got := p.answer(stream); got != "200 /p " {
			t.Fatalf("stream %d: %s", stream, got)
		}
	}
}

func TestHTTP2StreamsAtOnce(t *testing.T) {
	release := make(chan struct{})
	waiting := httpOnly(func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		<-release
		return reply(ctx, send, "x")
	})
	onH2(t, func(t *testing.T, launch func(*Server) (*site, *peer)) {
		release = make(chan struct{})
		_, p := launch(&Server{App: waiting, Limits: Limits{H2MaxStreams: 3}})
		told, acked := uint32(0), false
		_, err := p.until(func(f xhttp2.Frame) bool {
			if s, is := f.(*xhttp2.SettingsFrame); is {
				if v, ok := s.Value(xhttp2.SettingMaxConcurrentStreams); ok {
					told = v
				}
				acked = acked || s.IsAck()
			}
			return acked && told > 0
		})
		if err != nil || told != 3 {
			t.Errorf("%d streams, %v", told, err)
		}
		p.must(p.WriteSettingsAck())
		for n := range uint32(4) {
			p.request(2*n+1, "GET", true)
		}
		if got := p.answer(7); got != "REFUSED_STREAM" && got != "PROTOCOL_ERROR" {
			t.Errorf("the fourth: %s", got)
		}
		close(release)
	})
}

// A client that begins a step of the protocol and then stalls holds no resources for long.
func TestSlowHTTP2Clients(t *testing.T) {
	big := httpOnly(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Method == "POST" {
			_, err := io.Copy(io.Discard, request.BodyReader(ctx, receive))
			if errors.Is(err, request.ErrDisconnected) {
				return nil
			}
			return errors.Join(err, reply(ctx, send, "read"))
		}
		return reply(ctx, send, strings.Repeat("x", 1<<20))
	})
	for _, tt := range []struct {
		name   string
		server *Server
		do     func(p *peer) error // nil unless the limit was over before anything could be done
		want   string              // any of these
	}{
		{"head", &Server{Timeouts: Timeouts{HeaderTimeout: 500 * time.Millisecond}}, func(p *peer) error {
			return p.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: p.encode("GET"), EndStream: true})
		}, "closed"},
		{"frame of a head", &Server{Timeouts: Timeouts{HeaderTimeout: 500 * time.Millisecond}}, func(p *peer) error {
			_, err := p.conn.Write([]byte{0, 0, 50, 1, 5, 0, 0, 0, 1, 'x'})
			return err
		}, "closed"},
		{"body", &Server{Timeouts: Timeouts{Timeouts: engine.Timeouts{BodyTimeout: 50 * time.Millisecond}}}, func(p *peer) error {
			p.request(1, "POST", false)
			return p.WriteData(1, false, []byte("x"))
		}, "408 Request Timeout\n"},
		{"reader", &Server{Timeouts: Timeouts{Timeouts: engine.Timeouts{WriteTimeout: 50 * time.Millisecond}}}, func(p *peer) error { p.request(1, "GET", true); return nil }, "200 INTERNAL_ERROR|200 CANCEL"},
		{"nothing", &Server{Timeouts: Timeouts{Timeout: 50 * time.Millisecond}}, func(*peer) error { return nil }, "closed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onH2(t, func(t *testing.T, launch func(*Server) (*site, *peer)) {
				var p *peer
				for longer := time.Duration(1); ; longer *= 2 { // on a busy machine the limit includes what the client does before
					s := &Server{App: big, Timeouts: Timeouts{HeaderTimeout: longer * tt.server.HeaderTimeout, Timeouts: engine.Timeouts{BodyTimeout: tt.server.BodyTimeout, WriteTimeout: tt.server.WriteTimeout}, Timeout: tt.server.Timeout}}
					_, p = launch(s)
					err := tt.do(p)
					if err == nil {
						break
					}
					if longer > 100 {
						t.Fatal(err)
					}
				}
				got := p.answer(1)
				for want := range strings.SplitSeq(tt.want, "|") {
					if got == want {
						return
					}
				}
				t.Errorf("%.60q, want %q", got, tt.want)
			})
		})
	}
}

func TestStopWithHTTP2WithoutTLS(t *testing.T) {
	x := launch(t, &Server{H2C: true, App: echo})
	p := h2(t, x, nil)
	p.request(1, "GET", true)
	if got := p.answer(1); got != "200 /p " {
		t.Error(got)
	}
	if err := x.stop(); err != nil {
		t.Error(err)
	}
	if got := p.answer(3); got != "closed" {
		t.Error(got)
	}
}
