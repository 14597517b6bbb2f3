package server

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	xhttp2 "golang.org/x/net/http2"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// Resets that a client cannot avoid, or that the server's failures cause, do not count as a flood.
func TestHTTP2ResetsThatDoNotCount(t *testing.T) {
	const burst = 3
	app := httpOnly(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		if scope.Method == "POST" {
			return reply(ctx, send, "early")
		}
		return errors.Join(send(ctx, pagi.HTTPResponseStart{Status: 200}), send(ctx, pagi.HTTPResponseBody{Body: []byte("x"), More: true}), errors.New("no more"))
	})
	for _, tt := range []struct {
		name, method string
		then         func(p *peer, stream uint32)
		want         string
	}{
		{"the rest of a body that nobody wanted", "POST", func(p *peer, stream uint32) {
			for range 2 * burst {
				p.must(p.WriteData(stream, false, []byte("x")))
			}
		}, "200 early"},
		{"an application that fails", "GET", func(*peer, uint32) {}, "200 INTERNAL_ERROR"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onH2(t, func(t *testing.T, launch func(*Server) (*site, *peer)) {
				_, p := launch(&Server{App: app, Limits: Limits{H2ResetBurst: burst, H2ResetRate: -1}})
				for n := range uint32(3 * burst) {
					stream := 2*n + 1
					p.request(stream, tt.method, tt.method == "GET")
					if got := p.answer(stream); got != tt.want {
						t.Fatalf("stream %d: %s", stream, got)
					}
					tt.then(p, stream)
				}
			})
		})
	}
}

// A client that reads in small pieces sends a window update for each: net/http sends two for each 4
// KiB.
func TestHTTP2DownloadsInSmallPiecesAreNoFlood(t *testing.T) {
	const size = 16 << 20
	content := make([]byte, size)
	x := launch(t, &Server{H2C: true, Limits: Limits{H2ControlBurst: 20, H2ControlRate: -1}, App: httpOnly(func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		return errors.Join(send(ctx, pagi.HTTPResponseStart{Status: 200}), send(ctx, pagi.HTTPResponseBody{Body: content}))
	})})
	transport := testkit.HTTP2(t, nil)
	res, err := transport.RoundTrip(testkit.NewRequest(t, "GET", "http://"+x.addr+"/", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{bufio.NewReader(res.Body)}, make([]byte, 4096))
	if n != size || err != nil {
		t.Errorf("%d bytes are read, then %v", n, err)
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
		{"resets by the server", func(p *peer, n uint32) error {
			p.request(2*n+1, "POST", false)
			p.AllowIllegalWrites = true
			return p.WriteWindowUpdate(2*n+1, 0)
		}, burst, "had to be reset"},
		{"pings", func(p *peer, n uint32) error { return p.WritePing(false, [8]byte{byte(n)}) }, burst - 1, "control"},
		{"settings", func(p *peer, n uint32) error { return p.WriteSettings() }, burst - 1, "control"},
		{"priorities", func(p *peer, n uint32) error { return p.WritePriority(2*n+1, xhttp2.PriorityParam{}) }, burst - 1, "control"},
		{"farewells", func(p *peer, n uint32) error {
			if n == 0 {
				p.request(1, "POST", false)
			}
			return p.WriteGoAway(0, xhttp2.ErrCodeInternal, nil)
		}, burst - 1, "control"},
		{"unknown frames", func(p *peer, n uint32) error { return p.WriteRawFrame(0x77, 0, 0, nil) }, burst - 1, "control"},
		{"empty data", func(p *peer, n uint32) error {
			if n == 0 {
				p.request(1, "POST", false)
			}
			return p.WriteData(1, false, nil)
		}, burst - 1, "empty DATA"},
		{"padding alone", func(p *peer, n uint32) error {
			if n == 0 {
				p.request(1, "POST", false)
			}
			return p.WriteDataPadded(1, false, nil, make([]byte, 200))
		}, burst - 1, "empty DATA"},
		{"data of one byte", func(p *peer, n uint32) error {
			if n == 0 {
				p.request(1, "POST", false)
			}
			return p.WriteDataPadded(1, false, []byte("x"), make([]byte, n%3))
		}, 10 * burst, "next to nothing"},
		{"window updates", func(p *peer, n uint32) error {
			if n == 0 {
				p.request(1, "POST", false)
			}
			return p.WriteWindowUpdate(n%2, 1)
		}, burst - 1 + 8, "WINDOW_UPDATE"},
		{"continuations", func(p *peer, n uint32) error {
			if n == 0 {
				p.must(p.WriteHeaders(xhttp2.HeadersFrameParam{StreamID: 1, BlockFragment: p.encode("GET"), EndStream: true}))
			}
			return p.WriteContinuation(1, false, nil)
		}, 64, "CONTINUATION"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onH2(t, func(t *testing.T, launch func(*Server) (*site, *peer)) {
				x, p := launch(&Server{App: echo, Limits: Limits{H2ResetBurst: burst, H2ResetRate: -1, H2ControlBurst: burst, H2ControlRate: -1}})
				ended := make(chan string, 1)
				go func() {
					frame, err := p.until(func(f xhttp2.Frame) bool {
						bye, is := f.(*xhttp2.GoAwayFrame)
						return is && bye.ErrCode != xhttp2.ErrCodeNo
					})
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
		_, p := launch(&Server{App: echo, Limits: Limits{H2ResetBurst: -1, H2ControlBurst: -1, H2MaxStreams: -1}})
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
