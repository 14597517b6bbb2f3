package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/server/http2"
)

// peer is an HTTP/2 client that says what polite ones never say.
type peer struct {
	t testing.TB
	*xhttp2.Framer
	conn   net.Conn
	block  bytes.Buffer
	fields *hpack.Encoder
	path   string // of its requests
}

// speak begins HTTP/2 on conn.
func speak(t testing.TB, conn net.Conn) *peer {
	t.Helper()
	t.Cleanup(func() { _ = conn.Close() }) // most tests have closed it
	if err := conn.SetDeadline(time.Now().Add(testkit.Patience)); err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, Framer: xhttp2.NewFramer(conn, conn), conn: conn, path: "/p"}
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
	pairs = append([]string{":method", method, ":scheme", "https", ":authority", "x", ":path", p.path}, pairs...)
	for i := 0; i < len(pairs); i += 2 {
		p.must(p.fields.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]}))
	}
	return bytes.Clone(p.block.Bytes())
}

// until reads frames until f says that it has seen enough, and returns what it was that
// f saw last; the error is that of reading.
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

func TestMalformedHTTP2Messages(t *testing.T) {
	onH2(t, func(t *testing.T, launch func(*Server) (*site, *peer)) {
		_, p := launch(&Server{App: echo})
		stream := uint32(1)
		for _, tt := range []struct{ name, value, want string }{
			{"x-a", "b", "200 /p "},
			{"te", "trailers", "200 /p "},
			{"te", "gzip", "PROTOCOL_ERROR"},
			{"connection", "x-a", "PROTOCOL_ERROR"},
			{"keep-alive", "1", "PROTOCOL_ERROR"},
			{"proxy-connection", "close", "PROTOCOL_ERROR"},
			{"transfer-encoding", "chunked", "PROTOCOL_ERROR"},
			{"upgrade", "websocket", "PROTOCOL_ERROR"},
			{"connection", "x-a", "PROTOCOL_ERROR"}, // from the table of headers now
			{"x-a", strings.Repeat("long", 5000), "200 /p "},
		} {
			block := p.encode("GET", tt.name, tt.value)
			first := block[:min(len(block), 10000)]
			p.must(p.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: stream, BlockFragment: first, EndStream: true, EndHeaders: len(first) == len(block), PadLength: 7,
				Priority: xhttp2.PriorityParam{Weight: 3}}))
			if len(first) < len(block) {
				p.must(p.WriteContinuation(stream, true, block[len(first):]))
			}
			if got := p.answer(stream); got != tt.want {
				t.Errorf("%s: %.20s: %s, want %s", tt.name, tt.value, got, tt.want)
			}
			stream += 2
		}
		// A trailer section is a message's, too.
		p.request(stream, "POST", false)
		p.must(p.WriteData(stream, false, []byte("x")))
		p.block.Reset()
		p.must(p.fields.WriteField(hpack.HeaderField{Name: "upgrade", Value: "x"}))
		p.must(p.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: stream, BlockFragment: p.block.Bytes(), EndStream: true, EndHeaders: true}))
		if got := p.answer(stream); got != "PROTOCOL_ERROR" {
			t.Errorf("a trailer: %s", got)
		}
	})
}

func TestRequestsPerHTTP2Connection(t *testing.T) {
	onH2(t, func(t *testing.T, launch func(*Server) (*site, *peer)) {
		hints := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
			if err := send(ctx, pagi.HTTPResponseInformational{Status: 103, Headers: pagi.NewHeaders("link", "</a>")}); err != nil {
				return err
			}
			return echo.Serve(ctx, scope, receive, send)
		})
		_, p := launch(&Server{App: hints, MaxRequestsPerConnection: 2})
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
		// What is wrong stays wrong, though a right value follows.
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

// A table that is small from the beginning is what the server uses.
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

func TestHTTP2Floods(t *testing.T) {
	const burst = 20
	for _, tt := range []struct {
		name string
		send func(p *peer, n uint32) error
		most int // so many are no flood
		log  string
	}{
		{"resets", func(p *peer, n uint32) error {
			p.request(2*n+1, "GET", true)
			return p.WriteRSTStream(2*n+1, xhttp2.ErrCodeCancel)
		}, burst, "RST_STREAM"},
		{"pings", func(p *peer, n uint32) error { return p.WritePing(false, [8]byte{byte(n)}) }, burst - 1, "control"},
		{"settings", func(p *peer, n uint32) error { return p.WriteSettings() }, burst - 1, "control"},
		{"priorities", func(p *peer, n uint32) error { return p.WritePriority(2*n+1, xhttp2.PriorityParam{}) }, burst - 1, "control"},
		{"unknown frames", func(p *peer, n uint32) error { return p.WriteRawFrame(0x77, 0, 0, nil) }, burst - 1, "control"},
		{"empty data", func(p *peer, n uint32) error {
			if n == 0 {
				p.request(1, "POST", false)
			}
			return p.WriteData(1, false, nil)
		}, burst - 1, "empty DATA"},
		{"continuations", func(p *peer, n uint32) error {
			if n == 0 {
				p.must(p.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: p.encode("GET"), EndStream: true}))
			}
			return p.WriteContinuation(1, false, nil)
		}, 64, "CONTINUATION"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onH2(t, func(t *testing.T, launch func(*Server) (*site, *peer)) {
				x, p := launch(&Server{App: echo, H2ResetBurst: burst, H2ResetRate: -1, H2ControlBurst: burst, H2ControlRate: -1})
				ended := make(chan string, 1)
				go func() {
					frame, err := p.until(func(f xhttp2.Frame) bool { return f.Header().Type == xhttp2.FrameGoAway })
					if err != nil {
						ended <- err.Error()
						return
					}
					bye := frame.(*xhttp2.GoAwayFrame)
					ended <- bye.ErrCode.String() + " " + string(bye.DebugData())
				}()
				n := uint32(0)
				for ; int(n) < tt.most; n++ {
					p.must(tt.send(p, n))
				}
				select {
				case how := <-ended:
					t.Fatalf("ended after %d: %s", n, how)
				case <-time.After(20 * time.Millisecond):
				}
				p.must(tt.send(p, n))
				if how := testkit.Await(t, ended); !strings.HasPrefix(how, "ENHANCE_YOUR_CALM") || !strings.Contains(how, tt.log) {
					t.Error(how)
				}
				x.log.WaitFor(t, "HTTP/2 connection is ended", tt.log)
			})
		})
	}
}

func TestHTTP2LimitsCanBeOff(t *testing.T) {
	onH2(t, func(t *testing.T, launch func(*Server) (*site, *peer)) {
		_, p := launch(&Server{App: echo, H2ResetBurst: -1, H2ControlBurst: -1, H2MaxStreams: -1})
		for n := range uint32(2000) {
			p.must(p.WriteRawFrame(0x77, 0, 0, nil))
			if n%100 == 0 {
				p.request(2*n+1, "GET", true)
				if got := p.answer(2*n + 1); got != "200 /p " {
					t.Fatal(got)
				}
			}
		}
	})
}

func TestHTTP2StreamsAtOnce(t *testing.T) {
	release := make(chan struct{})
	waiting := httpOnly(func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		<-release
		return reply(ctx, send, "x")
	})
	onH2(t, func(t *testing.T, launch func(*Server) (*site, *peer)) {
		release = make(chan struct{})
		_, p := launch(&Server{App: waiting, H2MaxStreams: 3})
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

// A client that begins something and does not go on holds nothing for long.
func TestSlowHTTP2Clients(t *testing.T) {
	big := httpOnly(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Method == "POST" {
			_, err := io.Copy(io.Discard, pagi.BodyReader(ctx, receive))
			if errors.Is(err, pagi.ErrDisconnected) {
				return nil
			}
			return errors.Join(err, reply(ctx, send, "read"))
		}
		return reply(ctx, send, strings.Repeat("x", 1<<20))
	})
	for _, tt := range []struct {
		name   string
		server *Server
		do     func(p *peer)
		want   string // any of these
	}{
		{"head", &Server{HeaderTimeout: 50 * time.Millisecond}, func(p *peer) {
			p.must(p.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: p.encode("GET"), EndStream: true}))
		}, "closed"},
		{"frame of a head", &Server{HeaderTimeout: 50 * time.Millisecond}, func(p *peer) {
			_, err := p.conn.Write([]byte{0, 0, 50, 1, 5, 0, 0, 0, 1, 'x'})
			p.must(err)
		}, "closed"},
		{"body", &Server{BodyTimeout: 50 * time.Millisecond}, func(p *peer) {
			p.request(1, "POST", false)
			p.must(p.WriteData(1, false, []byte("x")))
		}, "408 Request Timeout\n"},
		{"reader", &Server{WriteTimeout: 50 * time.Millisecond}, func(p *peer) { p.request(1, "GET", true) }, "200 INTERNAL_ERROR|200 CANCEL"},
		{"nothing", &Server{Timeout: 50 * time.Millisecond}, func(*peer) {}, "closed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onH2(t, func(t *testing.T, launch func(*Server) (*site, *peer)) {
				s := &Server{App: big, HeaderTimeout: tt.server.HeaderTimeout, BodyTimeout: tt.server.BodyTimeout, WriteTimeout: tt.server.WriteTimeout, Timeout: tt.server.Timeout}
				_, p := launch(s)
				tt.do(p)
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

func TestUpgradeToHTTP2(t *testing.T) {
	x := launch(t, &Server{H2C: true, App: httpOnly(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		return reply(ctx, send, fmt.Sprint(scope.HTTPVersion, " ", scope.Method, " ", scope.RawPath, " ", scope.QueryString, " ", scope.Scheme, " ", scope.Headers))
	})})
	const ask = "GET /a?b HTTP/1.1\r\nHost: h\r\nX-A: c\r\n%s\r\n"
	settings := "HTTP2-Settings: " + base64.RawURLEncoding.EncodeToString([]byte{0, 4, 0, 1, 0, 0}) + "\r\n"
	const upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
	t.Run("is granted", func(t *testing.T) {
		c := x.request(fmt.Sprintf(ask, upgrade+settings))
		res, err := http.ReadResponse(c.Reader, nil)
		if err != nil || res.StatusCode != 101 || res.Header.Get("Upgrade") != "h2c" {
			t.Fatalf("%v, %v", res, err)
		}
		p := speak(t, c.Conn)
		p.Framer = xhttp2.NewFramer(c.Conn, c.Reader)
		p.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		p.must(p.WriteSettings())
		if got := p.answer(1); got != "200 2 GET /a b http [{host h} {x-a c}]" {
			t.Errorf("%q", got)
		}
		p.request(3, "GET", true)
		if got := p.answer(3); got != "200 2 GET /p  http [{host x}]" {
			t.Errorf("%q", got)
		}
	})
	for _, tt := range []struct{ name, headers string }{
		{"without settings", upgrade},
		{"with two settings", upgrade + settings + settings},
		{"with settings that are none", upgrade + "HTTP2-Settings: !\r\n"},
		{"to something else", strings.Replace(upgrade, "h2c", "h2", 1) + settings},
		{"that Connection does not name", "Connection: HTTP2-Settings\r\nUpgrade: h2c\r\n" + settings},
		{"with a body", upgrade + settings + "Content-Length: 1\r\n"},
	} {
		t.Run("is ignored: "+tt.name, func(t *testing.T) {
			request := fmt.Sprintf(ask, tt.headers)
			if strings.Contains(request, "Content-Length") {
				request += "x"
			}
			res, body := x.request(request).Response("GET")
			if res.StatusCode != 200 || !strings.HasPrefix(body, "1.1 GET") {
				t.Errorf("%v %q", res, body)
			}
		})
	}
	t.Run("is ignored under TLS", func(t *testing.T) {
		pair := testkit.Certificate(t)
		y := launch(t, &Server{H2C: true, App: echo, TLSCert: pair.CertFile, TLSKey: pair.KeyFile})
		c := testkit.NewConn(t, tls.Client(y.dial().Conn, &tls.Config{RootCAs: pair.Pool, ServerName: "127.0.0.1"}))
		c.Say(fmt.Sprintf(ask, upgrade+settings))
		if res, body := c.Response("GET"); res.StatusCode != 200 || body != "/a " {
			t.Errorf("%v %q", res, body)
		}
	})
	t.Run("is ignored where HTTP/2 is not spoken", func(t *testing.T) {
		y := launch(t, &Server{App: echo})
		res, _ := y.request(fmt.Sprintf(ask, upgrade+settings)).Response("GET")
		if res.StatusCode != 200 {
			t.Errorf("%v", res)
		}
		if res, _ := y.request(http2.Preface).Response("PRI"); res.StatusCode != 505 {
			t.Errorf("the preface: %v", res)
		}
	})
	t.Run("and a broken preface has no answer", func(t *testing.T) {
		if rest := x.request("PRI * HTTQ/2.0\r\n\r\n").Rest(); rest != "" {
			t.Errorf("%q", rest)
		}
	})
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
