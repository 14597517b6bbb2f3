package server

import (
	"context"
	"strings"
	"testing"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// fieldBlock encodes name, value pairs.
func (p *peer) fieldBlock(pairs ...string) []byte {
	p.t.Helper()
	p.block.Reset()
	for i := 0; i < len(pairs); i += 2 {
		p.must(p.fields.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]}))
	}
	return p.block.Bytes()
}

// A request that HTTP/1 refuses is refused in HTTP/2, too.
func TestMalformedHTTP2Requests(t *testing.T) {
	app := httpOnly(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		return reply(ctx, send, scope.Method+" "+scope.RawPath+" "+scope.Headers.Get("host"))
	})
	const malformed = "PROTOCOL_ERROR"
	onH2(t, func(t *testing.T, launch func(*Server) (*site, *peer)) {
		_, p := launch(&Server{App: app})
		stream := uint32(1)
		for _, tt := range []struct{ method, authority, path, more, want string }{
			{"GET", "x", "/a?b=[c]", "", "200 GET /a x"},
			{"M-1", "x:80", "/%41", "", "200 M-1 /%41 x:80"},
			{"GET /admin HTTP/1.1", "x", "/", "", malformed},
			{"G\u00e9T", "x", "/", "", malformed},
			{"GET", "[::1]:80", "/", "", "200 GET / [::1]:80"},
			{"GET", `evil/"><script>:x y`, "/", "", malformed},
			{"GET", "x:port", "/", "", malformed},
			{"GET", "user@x", "/", "", malformed},
			{"GET", "x", "/a b", "", malformed},
			{"GET", "x", "/a#b", "", malformed},
			{"GET", "x", "http://y/", "", malformed},
			{"GET", "x", "p", "", malformed},
			{"GET", "x", "*", "", malformed},
			{"OPTIONS", "x", "*", "", "200 OPTIONS * x"},
			{"GET", "x", "/", "host=X", "200 GET / x"},
			{"GET", "x", "/", "host=y", malformed},
			{"GET", "x", "/", "host=", malformed},
			{"GET", "", "/", "host=y", "200 GET / y"},
			{"GET", "", "/", "host=y z", malformed},
			{"GET", "", "/", "host=y;host=y", malformed},
			{"GET", "", "/", "", "400 Bad Request\n"},
			{"GET", "x", "/", "a= b", malformed},
			{"GET", "x", "/", "a=b ", malformed},
			{"GET", "x", "/", "a=\tb", malformed},
			{"GET", "x", "/", "a=b\t", malformed},
			{"GET", "x", "/", "a= ", malformed},
			{"GET", "x", "/", "a=", "200 GET / x"},
			{"GET", "x", "/", "a=b c", "200 GET / x"},
			{"GET", "x", "/ ", "", malformed},
			{"GET", "x", "/", "content-length=0", "200 GET / x"},
			{"GET", "x", "/", "content-length=5", malformed},
			{"GET", "x", "/", "content-length=+0", malformed},
			{"GET", "x", "/", "content-length=", malformed},
			{"GET", "x", "/", "content-length=0,0", malformed},
			{"GET", "x", "/", "content-length=0;content-length=0", malformed},
			{"CONNECT", "x y:443", "", "", malformed},
			{"GET", "x y", "", "", malformed}, // and the path is missing
		} {
			pairs := []string{":method", tt.method}
			if tt.method != "CONNECT" {
				pairs = append(pairs, ":scheme", p.scheme)
			}
			if tt.authority != "" {
				pairs = append(pairs, ":authority", tt.authority)
			}
			if tt.path != "" {
				pairs = append(pairs, ":path", tt.path)
			}
			for _, field := range strings.FieldsFunc(tt.more, func(r rune) bool { return r == ';' }) {
				name, value, _ := strings.Cut(field, "=")
				pairs = append(pairs, name, value)
			}
			p.must(p.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: stream, BlockFragment: p.fieldBlock(pairs...), EndHeaders: true, EndStream: true}))
			if got := p.answer(stream); got != tt.want {
				t.Errorf("%q %q %q %s: %q, want %q", tt.method, tt.authority, tt.path, tt.more, got, tt.want)
			}
			stream += 2
		}
		p.must(p.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: stream, BlockFragment: p.fieldBlock(":method", "CONNECT", ":authority", "x:443"), EndHeaders: true, EndStream: true}))
		if got := p.answer(stream); got != "501 Not Implemented\n" { // which ends the connection
			t.Errorf("CONNECT: %s", got)
		}
	})
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
		// A trailer section must keep the rules, too.
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

// The body of a request must have the length that the request announces, even if the application
// has answered before the end of the body.
func TestHTTP2BodiesOfAnotherLength(t *testing.T) {
	deaf := httpOnly(func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		return reply(ctx, send, "early")
	})
	onH2(t, func(t *testing.T, launch func(*Server) (*site, *peer)) {
		for _, tt := range []struct {
			name   string
			pieces []string
			want   string
		}{
			{"as long as it says", []string{"abc", "de"}, ""},
			{"as long as it says, with an empty last frame", []string{"abcde", ""}, ""},
			{"too short", []string{"abc"}, "PROTOCOL_ERROR"},
			{"too short, in pieces", []string{"ab", "c"}, "PROTOCOL_ERROR"},
			{"too short, with an empty last frame", []string{"abcd", ""}, "PROTOCOL_ERROR"},
			{"too long", []string{"abcdef"}, "PROTOCOL_ERROR"},
			{"too long, in pieces", []string{"abcd", "ef"}, "PROTOCOL_ERROR"},
		} {
			for _, early := range []bool{false, true} {
				app := echo
				if early {
					app = deaf
				}
				_, p := launch(&Server{App: app})
				p.request(1, "POST", false, "content-length", "5")
				if early {
					if got := p.answer(1); got != "200 early" {
						t.Fatal(got)
					}
				}
				for i, piece := range tt.pieces {
					p.must(p.WriteDataPadded(1, i == len(tt.pieces)-1, []byte(piece), []byte{0, 0}[:len(piece)%3]))
				}
				p.request(3, "GET", true) // its answer comes behind what is said of the first
				codes, got := map[xhttp2.ErrCode]bool{}, ""
				frame, err := p.until(func(f xhttp2.Frame) bool {
					if reset, is := f.(*xhttp2.RSTStreamFrame); is && reset.StreamID == 1 {
						codes[reset.ErrCode] = true
					}
					return f.Header().StreamID == 3 && f.Header().Flags.Has(xhttp2.FlagDataEndStream)
				})
				if err != nil {
					t.Fatalf("%s: %v %v", tt.name, frame, err)
				}
				if codes[xhttp2.ErrCodeProtocol] {
					got = "PROTOCOL_ERROR"
				}
				if got != tt.want {
					t.Errorf("%s: resets %v", tt.name, codes)
				}
			}
		}
	})
}

// A trailer section ends a body, too.
func TestHTTP2TrailersBehindAShortBody(t *testing.T) {
	onH2(t, func(t *testing.T, launch func(*Server) (*site, *peer)) {
		x, p := launch(&Server{App: echo})
		p.request(1, "POST", false, "content-length", "5")
		p.must(p.WriteData(1, false, []byte("abc")))
		p.must(p.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: p.fieldBlock("x-a", "b"), EndStream: true, EndHeaders: true}))
		if got := p.answer(1); got != "PROTOCOL_ERROR" {
			t.Error(got)
		}
		x.log.WaitFor(t, "level=WARN", "request is refused", "the body has not the length that the request says")
	})
}

// A request of https must come by TLS or from a trusted gateway (RFC 9110 section 7.4).
func TestRequestsOfHTTPSWithoutTLS(t *testing.T) {
	for _, tt := range []struct {
		name     string
		from     []string
		want, h1 string
	}{
		{"from a client", nil, "PROTOCOL_ERROR", "HTTP/1.1 421 "},
		{"from a gateway that is trusted", []string{"127.0.0.1"}, "200 /p ", "HTTP/1.1 200 "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := launch(t, &Server{App: echo, H2C: true, ProxyProtocolFrom: tt.from})
			p := h2(t, x, nil)
			p.scheme = "https"
			p.request(1, "GET", true)
			if got := p.answer(1); got != tt.want {
				t.Errorf("HTTP/2: %s", got)
			}
			c := x.request("GET https://x/p HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			if got := c.Rest(); !strings.HasPrefix(got, tt.h1) {
				t.Errorf("HTTP/1.1: %q", got)
			}
		})
	}
}
