package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

const ask = "GET /x HTTP/1.1\r\nHost: x\r\n\r\n"

func TestBadRequests(t *testing.T) {
	const h = "Host: x\r\n"
	tests := []struct {
		name, request string
		status        int
		log           []string
	}{
		{"malformed request line", "GET\r\n\r\n", 400, nil},
		{"request line with a space too many", "GET /a b HTTP/1.1\r\n" + h + "\r\n", 400, nil},
		{"header without a colon", "GET / HTTP/1.1\r\n" + h + "nonsense\r\n\r\n", 400, nil},
		{"space before the colon", "GET / HTTP/1.1\r\n" + h + "A : b\r\n\r\n", 400, nil},
		{"NUL in a header", "GET / HTTP/1.1\r\n" + h + "A: \x00\r\n\r\n", 400, nil},
		{"no host", "GET / HTTP/1.1\r\n\r\n", 400, nil},
		{"two hosts", "GET / HTTP/1.1\r\n" + h + h + "\r\n", 400, nil},
		{"bad escape in the path", "GET /%zz HTTP/1.1\r\n" + h + "\r\n", 400, nil},
		{"content-length that is no number", "POST / HTTP/1.1\r\n" + h + "Content-Length: x\r\n\r\n", 400, nil},
		{"two content-lengths", "POST / HTTP/1.1\r\n" + h + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400, nil},
		{"content-length, then transfer-encoding", "POST / HTTP/1.1\r\n" + h + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, []string{"WARN", "ambiguous", "client=127.0.0.1:"}},
		{"transfer-encoding, then content-length", "POST / HTTP/1.1\r\n" + h + "tRANSFER-eNCODING: chunked\r\nCONTENT-LENGTH: 3\r\n\r\n0\r\n\r\n", 400, []string{"WARN", "ambiguous", "client=127.0.0.1:"}},
		{"transfer-encoding in HTTP/1.0", "POST / HTTP/1.0\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, []string{"WARN", "ambiguous", "client=127.0.0.1:"}},
		{"both, in the second of two requests", "POST / HTTP/1.1\r\n" + h + "Content-Length: 3\r\n\r\nabcPOST / HTTP/1.1\r\n" + h + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, []string{"WARN", "ambiguous", "client=127.0.0.1:"}},
		{"both, after a chunked request", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\n1;x=y\r\na\r\n0\r\nT: x\r\n\r\nPOST / HTTP/1.1\r\n" + h + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", 400, []string{"WARN", "ambiguous", "client=127.0.0.1:"}},
		{"folded content-length, then transfer-encoding", "POST / HTTP/1.1\r\n" + h + "Content-Length:\r\n 42\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, []string{"ambiguous", "folded"}},
		{"folded content-length", "POST / HTTP/1.1\r\n" + h + "Content-Length:\r\n 2\r\n\r\nab", 400, []string{"folded"}},
		{"line folded with a tab, with a colon in it", "GET / HTTP/1.1\r\n" + h + "A: b\r\n\tc: d\r\n\r\n", 400, []string{"folded"}},
		{"fold of nothing but spaces", "GET / HTTP/1.1\r\n" + h + "A: b\n  \n\n", 400, []string{"folded"}},
		{"first line folded", "GET / HTTP/1.1\r\n " + h + "\r\n", 400, []string{"folded"}},
		{"unknown transfer-encoding", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: gzip\r\n\r\n", 501, nil},
		{"broken chunk", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400, nil},
		{"head too large", "GET / HTTP/1.1\r\n" + h + "A: " + strings.Repeat("x", DefaultMaxHeaderSize) + "\r\n\r\n", 431, []string{"--max-header-size", "limit=32768"}},
		{"too many headers", "GET / HTTP/1.1\r\n" + h + strings.Repeat("A: b\r\n", 100) + "\r\n", 431, []string{"--max-header-count", "limit=100"}},
		{"announced body too large", "POST / HTTP/1.1\r\n" + h + "Content-Length: 11\r\n\r\n", 413, []string{"--max-body-size", "limit=10"}},
		{"chunked body too large", "POST / HTTP/1.1\r\n" + h + "Transfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n", 413, []string{"--max-body-size", "limit=10"}},
	}
	check := func(t *testing.T, x *site, send func(t *testing.T, text string) *testkit.Conn) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				c := send(t, tt.request)
				res, _ := c.Response("GET")
				if strings.Contains(tt.name, "second") || strings.Contains(tt.name, "after a") {
					res, _ = c.Response("GET")
				}
				if res.StatusCode != tt.status || !res.Close {
					t.Errorf("response %v", res)
				}
				c.Cut()
				if tt.log != nil {
					x.log.WaitFor(t, tt.log...)
				}
			})
		}
	}
	t.Run("plain", func(t *testing.T) {
		x := launch(t, &Server{App: echo, Limits: Limits{Limits: engine.Limits{MaxBodySize: 10}}})
		check(t, x, func(t *testing.T, text string) *testkit.Conn {
			c := testkit.Dial(t, x.addr)
			c.Say(text)
			return c
		})
	})
	t.Run("TLS", func(t *testing.T) {
		pair := testkit.Certificate(t)
		x := launch(t, &Server{App: echo, Limits: Limits{Limits: engine.Limits{MaxBodySize: 10}}, TLSCert: pair.CertFile, TLSKey: pair.KeyFile})
		check(t, x, func(t *testing.T, text string) *testkit.Conn {
			c := testkit.NewConn(t, tls.Client(testkit.Dial(t, x.addr).Conn, &tls.Config{RootCAs: pair.Pool, ServerName: "127.0.0.1"}))
			c.Say(text)
			return c
		})
	})
}

func TestFramingIsFollowedByteByByte(t *testing.T) {
	x := launch(t, &Server{App: echo})
	c := x.dial()
	one := "POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nX:\r\n\r\nhi"
	two := "POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;e\r\nabc\r\nA\r\n0123456789\r\n0\r\nX-T: content-length: 1\r\n\r\n"
	for i, want := range []string{"/a hi", "/b abc0123456789", "/a hi", "/b abc0123456789"} {
		for _, b := range []byte([]string{one, two}[i%2]) {
			c.Say(string(b))
		}
		if res, body := c.Response("GET"); res.StatusCode != 200 || body != want {
			t.Fatalf("%v %q", res, body)
		}
	}
	c.Close()
	// All bytes after the wrong one are sent at once, because the answer may come at any time.
	for _, bad := range [][2]string{
		{"GET /c HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nTransfer-Encoding", ": chunked\r\n\r\n"},
		{"POST /c HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n", " 42\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"},
		{"POST /c HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n", "\t2\r\n\r\nhi"},
	} {
		c := x.dial()
		for _, b := range []byte(bad[0]) {
			c.Say(string(b))
		}
		time.Sleep(5 * time.Millisecond) // for net/http to take what there is
		c.Say(bad[1])
		if res, _ := c.Response("GET"); res.StatusCode != 400 || !res.Close {
			t.Errorf("%q: %v", bad, res)
		}
		c.Cut()
	}
}

func TestHeaderSizeLimit(t *testing.T) {
	pair := testkit.Certificate(t)
	for _, tt := range []struct {
		limit, size, status int
	}{
		{0, 31 << 10, 200}, {0, 32 << 10, 200}, {0, 32<<10 + 1, 431}, {0, 200_000, 431},
		{8192, 7168, 200}, {8192, 8192, 200}, {8192, 8193, 431},
		{4096, 3072, 200}, {4096, 4096, 200}, {4096, 4097, 431}, {4096, 100_000, 431},
		{4095, 4096, 431}, {100, 100, 200}, {100, 101, 431},
		{-1, 100_000, 200},
	} {
		check := func(t *testing.T, x *site, status, want int) {
			if status != want {
				t.Errorf("status %d, want %d", status, want)
			}
			if want != 200 {
				x.log.WaitFor(t, "WARN", "--max-header-size", "client=127.0.0.1")
			}
			if n := strings.Count(x.log.String(), "--max-header-size"); n > 1 || n == 1 && tt.status == 200 {
				t.Errorf("logged %s", x.log)
			}
		}
		name := fmt.Sprintf("limit %d, head of %d, ", tt.limit, tt.size)
		t.Run(name+"HTTP/1", func(t *testing.T) {
			t.Parallel()
			x := launch(t, &Server{App: echo, Limits: Limits{MaxHeaderSize: tt.limit}})
			head := "GET / HTTP/1.1\r\nHost: x\r\nA: "
			head += strings.Repeat("a", tt.size-len(head)-4) + "\r\n\r\n"
			c := x.request(head)
			res, _ := c.Response("GET")
			check(t, x, res.StatusCode, tt.status)
		})
		t.Run(name+"HTTP/1, all in the first line", func(t *testing.T) {
			t.Parallel()
			x := launch(t, &Server{App: echo, Limits: Limits{MaxHeaderSize: tt.limit}})
			const end, headers = " HTTP/1.1\r\nHost: x\r\n\r\n", "Host: x\r\n\r\n"
			c := x.request("GET /" + strings.Repeat("a", tt.size-len(end)-5) + end)
			res, _ := c.Response("GET")
			want := tt.status
			if want == 431 && tt.size-len(headers) > cmp.Or(tt.limit, DefaultMaxHeaderSize) {
				want = 414
			}
			check(t, x, res.StatusCode, want)
		})
		t.Run(name+"HTTP/2", func(t *testing.T) {
			t.Parallel()
			x := launch(t, &Server{App: echo, Limits: Limits{MaxHeaderSize: tt.limit}, TLSCert: pair.CertFile, TLSKey: pair.KeyFile})
			client := https(t, pair.Pool, true)
			client.Transport.(*http.Transport).DisableCompression = true
			head := "GET / HTTP/2.0\r\nHost: " + x.addr + "\r\nCookie: "
			for i := range 2 { // the connection survives a refusal
				req, err := http.NewRequest("GET", "https://"+x.addr+"/", nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header.Set("User-Agent", "")
				req.Header.Set("Cookie", strings.Repeat("a", tt.size-len(head)-4))
				var conn httptrace.GotConnInfo
				trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { conn = i }}
				res, err := client.Do(req.WithContext(httptrace.WithClientTrace(t.Context(), trace)))
				if err != nil {
					t.Fatal(err)
				}
				_, err = io.Copy(io.Discard, res.Body)
				if err := errors.Join(err, res.Body.Close()); err != nil {
					t.Error(err)
				}
				if res.ProtoMajor != 2 || conn.Reused != (i > 0) {
					t.Errorf("request %d: %s, connection reused: %v", i, res.Proto, conn.Reused)
				}
				if i == 0 {
					check(t, x, res.StatusCode, tt.status)
				} else if res.StatusCode != tt.status {
					t.Errorf("second status %d", res.StatusCode)
				}
			}
			if tt.status == 431 {
				x.access.WaitFor(t, " 431 ")
			}
		})
	}
}

// TestLargeHeadAfterARequest sends a head that is too large before the response to
// the request before it.
func TestLargeHeadAfterARequest(t *testing.T) {
	for _, limit := range []int{100, 4095, 4096, 8192} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			g := newGate()
			x := launch(t, &Server{App: g, Limits: Limits{MaxHeaderSize: limit}})
			large := "GET /" + strings.Repeat("a", limit)
			c := x.request(ask + large)
			testkit.Await(t, g.running)
			time.Sleep(5 * time.Millisecond) // for what net/http reads ahead
			close(g.leave)
			if res, _ := c.Response("GET"); res.StatusCode != 200 {
				t.Errorf("first response %v", res)
			}
			if res, _ := c.Response("GET"); res.StatusCode != 414 || !res.Close {
				t.Errorf("second response %v", res)
			}
			c.Cut()
			x.log.WaitFor(t, "WARN", "--max-header-size")
		})
	}
}

func TestTimeouts(t *testing.T) {
	const short = 30 * time.Millisecond
	for _, head := range []string{"G", "GET / HTTP/1.1\r\nHos", "GET / HTTP/1.1\r\nHost: x\r\n"} {
		t.Run("slow head gets 408, "+head, func(t *testing.T) {
			x := launch(t, &Server{App: echo, Timeouts: Timeouts{HeaderTimeout: short}})
			c := x.request(head)
			if res, _ := c.Response("GET"); res.StatusCode != 408 {
				t.Errorf("response %v", res)
			}
			c.Cut()
			x.log.WaitFor(t, "WARN", "too slow", "--header-timeout", "client=127.0.0.1:")
			if n := strings.Count(x.log.String(), "too slow"); n != 1 {
				t.Errorf("logged %d times", n)
			}
		})
	}
	t.Run("connection without a request is closed", func(t *testing.T) {
		x := launch(t, &Server{App: echo, Timeouts: Timeouts{HeaderTimeout: short}})
		x.dial().Cut()
	})
	t.Run("slow TLS handshake is closed", func(t *testing.T) {
		pair := testkit.Certificate(t)
		x := launch(t, &Server{App: echo, Timeouts: Timeouts{HeaderTimeout: short}, TLSCert: pair.CertFile, TLSKey: pair.KeyFile})
		x.dial().Cut()
	})
	t.Run("slow body gets 408", func(t *testing.T) {
		x := launch(t, &Server{App: echo, Timeouts: Timeouts{Timeouts: engine.Timeouts{BodyTimeout: short}}})
		c := x.request("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na")
		if res, _ := c.Response("GET"); res.StatusCode != 408 {
			t.Errorf("response %v", res)
		}
		c.Cut()
	})
	t.Run("idle connection is closed", func(t *testing.T) {
		x := launch(t, &Server{App: echo, Timeouts: Timeouts{Timeout: short}})
		c := x.request(ask)
		c.Response("GET")
		c.Cut()
	})
	t.Run("stalled request gets 504", func(t *testing.T) {
		x := launch(t, &Server{Timeouts: Timeouts{Timeouts: engine.Timeouts{RequestTimeout: short}}, App: httpOnly(
			func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, _ pagi.Send) error {
				<-ctx.Done()
				return ctx.Err()
			})})
		c := x.request(ask)
		if res, _ := c.Response("GET"); res.StatusCode != 504 {
			t.Errorf("response %v", res)
		}
		c.Cut()
	})
}

func TestConnectionLimit(t *testing.T) {
	x := launch(t, &Server{App: echo, Limits: Limits{MaxConnections: 1}})
	first := x.request(ask)
	first.Response("GET")
	second := x.dial()
	res, _ := second.Response("GET")
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
		t.Errorf("response %v", res)
	}
	second.Cut()
	x.log.WaitFor(t, "WARN", "--max-connections", "client=127.0.0.1:")
	first.Close()
	testkit.Eventually(t, "a free place", func() bool {
		c, err := net.Dial("tcp", x.addr)
		if err != nil {
			return false
		}
		defer c.Close()
		fmt.Fprint(c, ask)
		b := make([]byte, 12)
		_, err = io.ReadFull(c, b)
		return err == nil && string(b) == "HTTP/1.1 200"
	})
}

func TestTLSAndHTTP2(t *testing.T) {
	pair := testkit.Certificate(t)
	scopes := make(chan *pagi.Scope, 1)
	x := launch(t, &Server{TLSCert: pair.CertFile, TLSKey: pair.KeyFile, App: httpOnly(
		func(ctx context.Context, s *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
			scopes <- s
			return reply(ctx, send, "hi")
		})})
	for _, h2 := range []bool{true, false} {
		res, body := testkit.Get(t, https(t, pair.Pool, h2), "https://"+x.addr+"/")
		s := testkit.Await(t, scopes)
		if body != "hi" || res.ProtoMajor == 2 != h2 || s.HTTPVersion != map[bool]string{true: "2", false: "1.1"}[h2] {
			t.Errorf("%v %q %+v", res, body, s)
		}
		if s.Scheme != "https" || s.TLS() == nil || s.TLS().ServerCert != pair.PEM {
			t.Errorf("tls %+v", s.TLS())
		}
	}
	t.Run("plain HTTP is told", func(t *testing.T) {
		c := x.request(ask)
		if res, _ := c.Response("GET"); res.StatusCode != 400 {
			t.Errorf("response %v", res)
		}
	})
	t.Run("TLS 1.1 is refused", func(t *testing.T) {
		conn, err := tls.Dial("tcp", x.addr, &tls.Config{RootCAs: pair.Pool, MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10})
		if err == nil {
			conn.Close()
			t.Error("it was not")
		}
	})
}

func TestUnixSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	scopes := make(chan *pagi.Scope, 1)
	app := httpOnly(func(ctx context.Context, s *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		scopes <- s
		return reply(ctx, send, "hi")
	})
	x := launch(t, &Server{App: app, Socket: path, SocketMode: 0o640})
	c := x.request(ask)
	if _, body := c.Response("GET"); body != "hi" {
		t.Errorf("body %q", body)
	}
	if s := testkit.Await(t, scopes); s.Server != (pagi.Addr{Host: path}) || !s.Client.IsZero() {
		t.Errorf("server %v, client %v", s.Server, s.Client)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	t.Run("a served socket is not taken over", func(t *testing.T) {
		if err := (&Server{App: app, Socket: path}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "another server answers") {
			t.Errorf("error %v", err)
		}
	})
	if err := x.stop(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("file after the stop: %v", err)
	}
	t.Run("a stale file is replaced", func(t *testing.T) {
		leaveStale(t, path)
		x := launch(t, &Server{App: app, Listen: []string{path}})
		c := x.request(ask)
		c.Response("GET")
	})
	t.Run("a file that is no socket is not touched", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "precious")
		os.WriteFile(path, []byte("x"), 0o600)
		if err := (&Server{App: app, Socket: path}).Run(t.Context()); err == nil || !strings.Contains(err.Error(), "no socket") {
			t.Errorf("error %v", err)
		}
		if b, _ := os.ReadFile(path); string(b) != "x" {
			t.Error("it was")
		}
	})
}

func TestSeveralListeners(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "s")
	x := launch(t, &Server{App: echo, Listeners: []net.Listener{l}, Listen: []string{"127.0.0.1:0", "unix:" + path}})
	for _, addr := range []string{l.Addr().String(), path} {
		x.addr = addr
		c := x.request(ask)
		if _, body := c.Response("GET"); body != "/x " {
			t.Errorf("%s: %q", addr, body)
		}
	}
}

func TestOptionsThatCannotBe(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, tt := range []struct {
		name string
		s    *Server
		want string
	}{
		{"no application", &Server{}, "no application"},
		{"certificate without a key", &Server{App: echo, TLSCert: "c"}, "both a certificate file and a key file"},
		{"certificate that is not there", &Server{App: echo, TLSCert: "/none/c", TLSKey: "/none/k"}, "/none/c"},
		{"two sources of TLS", &Server{App: echo, TLSConfig: &tls.Config{}, TLSCert: "c", TLSKey: "k"}, "exclude one another"},
		{"unknown lifespan mode", &Server{App: echo, Lifespan: "maybe"}, `lifespan mode "maybe"`},
		{"unknown compression mode", &Server{App: echo, WSCompression: "zip"}, `WebSocket compression "zip"`},
		{"unknown atom", &Server{App: echo, AccessLog: io.Discard, AccessLogFormat: "%h %Z"}, "%Z is not known"},
		{"port in use", &Server{App: echo, Listen: []string{l.Addr().String()}}, "listening on " + l.Addr().String()},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q in it", err, tt.want)
			}
		})
	}
}

func TestUpgradeRequestIsAnHTTPScope(t *testing.T) {
	x := launch(t, &Server{App: echo})
	c := x.request("GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: chess/2.0\r\n\r\n")
	if res, body := c.Response("GET"); res.StatusCode != 200 || body != "/ws " {
		t.Errorf("%v %q", res, body)
	}
}

func TestFileThroughTheServer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	content := strings.Repeat("0123456789", 100_000)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	app := httpOnly(func(ctx context.Context, s *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		return errors.Join(send(ctx, pagi.HTTPResponseStart{Status: 200}), send(ctx, pagi.HTTPResponseBody{File: path, Length: pagi.ToEnd}))
	})
	pair := testkit.Certificate(t)
	plain, socket, secure := launch(t, &Server{App: app}), launch(t, &Server{App: app, Socket: filepath.Join(t.TempDir(), "s")}), launch(t, &Server{App: app, TLSCert: pair.CertFile, TLSKey: pair.KeyFile})
	for _, x := range []*site{plain, socket} {
		c := x.request(ask)
		if res, body := c.Response("GET"); body != content || res.ContentLength != int64(len(content)) {
			t.Errorf("%v, %d bytes", res, len(body))
		}
	}
	for _, h2 := range []bool{true, false} {
		if _, body := testkit.Get(t, https(t, pair.Pool, h2), "https://"+secure.addr+"/"); body != content {
			t.Errorf("%d bytes", len(body))
		}
	}
}
