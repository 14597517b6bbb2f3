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

// What HTTP/1 turns down nobody is to say in HTTP/2.
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
				pairs = append(pairs, ":scheme", "https")
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
