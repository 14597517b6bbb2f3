package server

import (
	"context"
	"fmt"
	"strings"
	"testing"

	xhttp2 "golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/pagi-go/pagi-bridge/pagi"
)

func TestAsteriskByHTTP2(t *testing.T) {
	onH2(t, func(t *testing.T, launch func(*Server) (*site, *peer)) {
		for _, tt := range []struct{ method, want string }{
			{"OPTIONS", "200 * "}, {"GET", "PROTOCOL_ERROR"}, {"DELETE", "PROTOCOL_ERROR"},
		} {
			_, p := launch(&Server{App: echo})
			p.path = "*"
			p.request(1, tt.method, true)
			if got := p.answer(1); got != tt.want {
				t.Errorf("%s: %q", tt.method, got)
			}
		}
	})
}

func TestLongHTTP2Targets(t *testing.T) {
	for _, tt := range []struct {
		name, path string
		fields     []string
		want       string
	}{
		{"that fit", "/" + strings.Repeat("a", 800), nil, "200"},
		{"with headers that are too much", "/" + strings.Repeat("a", 800), []string{"x-a", strings.Repeat("a", 300)}, "431"},
		{"that fit alone", "/" + strings.Repeat("a", 999), nil, "431"},
		{"that are too long", "/" + strings.Repeat("a", 1000), nil, "414"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onH2(t, func(t *testing.T, launch func(*Server) (*site, *peer)) {
				x, p := launch(&Server{App: echo, Limits: Limits{MaxHeaderSize: 1000}})
				p.path = tt.path
				p.request(1, "GET", true, tt.fields...)
				if got, _, _ := strings.Cut(p.answer(1), " "); got != tt.want {
					t.Errorf("answered %s, want %s", got, tt.want)
				}
				if tt.want != "200" {
					x.log.WaitFor(t, "WARN", "--max-header-size")
					p.must(p.conn.Close())
					x.stop()
					if access := x.access.String(); !strings.Contains(access, " "+tt.want+" ") {
						t.Errorf("access log %q", access)
					}
				}
			})
		})
	}
}

func TestHTTP2RequestTrailers(t *testing.T) {
	onH2(t, func(t *testing.T, launch func(*Server) (*site, *peer)) {
		_, p := launch(&Server{App: httpOnly(func(ctx context.Context, _ *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
			for {
				ev, err := receive(ctx)
				if err != nil {
					return err
				}
				if e, is := ev.(pagi.HTTPRequest); !is || !e.More {
					return reply(ctx, send, fmt.Sprint(e.Trailers))
				}
			}
		})})
		stream := uint32(1)
		for _, tt := range []struct{ announced, name, want string }{
			{"x-sum", "x-sum", "200 [{x-sum 1}]"},
			{"x-other", "x-sum", "200 []"},
			{"x-forwarded-for", "x-forwarded-for", "200 []"},
		} {
			p.request(stream, "POST", false, "trailer", tt.announced)
			p.must(p.WriteData(stream, false, []byte("abc")))
			p.block.Reset()
			p.must(p.fields.WriteField(hpack.HeaderField{Name: tt.name, Value: "1"}))
			p.must(p.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: stream, BlockFragment: p.block.Bytes(), EndStream: true, EndHeaders: true}))
			if got := p.answer(stream); got != tt.want {
				t.Errorf("%s of %s: %s, want %s", tt.name, tt.announced, got, tt.want)
			}
			stream += 2
		}
	})
}
