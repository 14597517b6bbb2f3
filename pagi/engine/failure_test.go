package engine_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

func TestBackstop(t *testing.T) {
	for _, tt := range []struct {
		name   string
		app    func(c *call) error
		status int
		body   string
		header string
		log    []string // nil: nothing may be logged
	}{
		{"error", func(c *call) error { return errors.New("boom") }, 500, "Internal Server Error\n", "", []string{"level=ERROR", "method=GET", "path=/", "error=boom"}},
		{"return without a response", func(c *call) error { return nil }, 500, "Internal Server Error\n", "", []string{"without a response"}},
		{"panic", func(c *call) error { panic("ouch") }, 500, "Internal Server Error\n", "", []string{"ouch", "stack=", "failure_test.go"}},
		{"declined", func(c *call) error { return pagi.Unsupported(c.scope) }, 500, "Internal Server Error\n", "", []string{"unsupported scope"}},
		{"start without a body", func(c *call) error { return c.start(201) }, 500, "Internal Server Error\n", "", []string{"without a response"}},
		{"status error", func(c *call) error {
			return fmt.Errorf("wrapped: %w", &pagi.StatusError{Status: 503, Message: "come back", Headers: pagi.NewHeaders("retry-after", "7"), Err: errors.New("full")})
		}, 503, "come back\n", "7", []string{"full"}},
		{"no descriptor", func(c *call) error {
			return fmt.Errorf("open: %w", &os.PathError{Op: "open", Path: "/x", Err: syscall.EMFILE})
		}, 503, "Service Unavailable\n", "1", []string{"no descriptor is left", "too many open files"}},
		{"no descriptor, with a status of its own", func(c *call) error { return &pagi.StatusError{Status: 502, Err: syscall.ENFILE} }, 503, "Service Unavailable\n", "1", []string{"too many open files"}},
		{"status error that is the client's", func(c *call) error { return &pagi.StatusError{Status: 404} }, 404, "Not Found\n", "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var conn pagi.Connection
			var order []string
			x := serve(t, engine.Handler{}, func(c *call) error {
				conn = c.scope.Connection
				conn.OnDisconnect(func(r string) { order = append(order, r) })
				conn.OnComplete(func() { order = append(order, "complete") })
				return tt.app(c)
			})
			c := x.request(get)
			res, body := c.Response("GET")
			if res.StatusCode != tt.status || body != tt.body || res.Header.Get("Retry-After") != tt.header ||
				!strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain") {
				t.Errorf("response %v %q", res, body)
			}
			rec := x.record()
			if rec.Status != tt.status || rec.Reason != pagi.ReasonServerError {
				t.Errorf("record %+v", rec)
			}
			if !conn.ResponseStarted() || conn.ResponseComplete() || len(order) != 1 || order[0] != pagi.ReasonServerError {
				t.Errorf("connection: started %v, order %v", conn.ResponseStarted(), order)
			}
			if tt.log != nil {
				x.log.WaitFor(t, tt.log...)
			} else if x.log.String() != "" {
				t.Errorf("logged %s", x.log)
			}
		})
	}
}

// A 204 has no content-length, RFC 9110 section 8.6.
func TestStatusErrorWithoutContent(t *testing.T) {
	x := serve(t, engine.Handler{}, func(*call) error { return &pagi.StatusError{Status: 204} })
	res, _ := x.request(get).Response("GET")
	if length, sent := res.Header["Content-Length"]; res.StatusCode != 204 || sent {
		t.Errorf("status %d, content-length %v", res.StatusCode, length)
	}
}

func TestUnfinishedResponseIsCut(t *testing.T) {
	for _, tt := range []struct {
		name string
		app  func(c *call) error
		log  string // "": nothing may be logged
	}{
		{"error after start", func(c *call) error { return errors.Join(c.start(200), c.more("x"), errors.New("boom")) }, "boom"},
		{"return in the middle", func(c *call) error { return errors.Join(c.start(200), c.more("x")) }, "before the response was complete"},
		{"panic in the middle", func(c *call) error { c.start(200); c.more("x"); panic("ouch") }, "ouch"},
		{"too few bytes", func(c *call) error { c.start(200, "content-length", "3"); c.more("x"); c.body(""); return nil }, "given up"},
		{"too many bytes", func(c *call) error { c.start(200, "content-length", "3"); c.more("xx"); c.body("xx"); return nil }, "given up"},
		{"trailers missing", func(c *call) error {
			c.send(c.ctx, pagi.HTTPResponseStart{Status: 200, Trailers: true})
			c.body("x")
			return nil
		}, "before the response was complete"},
		{"asked for", func(c *call) error { c.start(200); c.more("x"); panic(http.ErrAbortHandler) }, ""},
	} {
		for _, version := range []string{"1.0", "1.1", "2"} {
			t.Run(tt.name+", HTTP/"+version, func(t *testing.T) {
				var reason string
				x := start(t, engine.Handler{}, func(c *call) error {
					c.scope.Connection.OnDisconnect(func(r string) { reason = r })
					return tt.app(c)
				}, func(s *httptest.Server) {
					s.EnableHTTP2 = version == "2"
					if s.EnableHTTP2 {
						s.StartTLS()
					} else {
						s.Start()
					}
				})
				var err error
				if version == "2" {
					var res *http.Response
					if res, err = x.srv.Client().Get(x.url); err == nil {
						_, err = io.ReadAll(res.Body)
					}
				} else {
					c := x.request("GET / HTTP/" + version + "\r\nHost: x\r\n\r\n")
					var res *http.Response
					if res, err = http.ReadResponse(c.Reader, nil); err == nil {
						_, err = io.ReadAll(res.Body)
					}
				}
				if err == nil {
					t.Error("the client cannot tell")
				}
				x.record()
				if reason != pagi.ReasonServerError {
					t.Errorf("reason %q", reason)
				}
				if tt.log != "" {
					x.log.WaitFor(t, tt.log)
				} else if x.log.String() != "" {
					t.Errorf("logged %s", x.log)
				}
			})
		}
	}
}

func TestWriteFailures(t *testing.T) {
	path := filepath.Join(t.TempDir(), "big")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(1<<30), f.Close()); err != nil {
		t.Fatal(err)
	}
	big := make([]byte, 16<<20)
	for what, ev := range map[string]pagi.HTTPResponseBody{"bytes": {Body: big, More: true}, "file": {File: path, Length: pagi.ToEnd}} {
		for _, tt := range []struct {
			name, reason string
			options      engine.Handler
			then         func(c *testkit.Conn)
		}{
			{"client stops reading", pagi.ReasonWriteTimeout, engine.Handler{Timeouts: engine.Timeouts{WriteTimeout: 50 * time.Millisecond}}, func(*testkit.Conn) {}},
			{"client stops reading, request timeout", pagi.ReasonWriteTimeout, engine.Handler{Timeouts: engine.Timeouts{RequestTimeout: 200 * time.Millisecond}}, func(*testkit.Conn) {}},
			{"client resets", pagi.ReasonWriteError, engine.Handler{}, func(c *testkit.Conn) {
				c.Conn.(*net.TCPConn).SetLinger(0)
				c.Close()
			}},
		} {
			t.Run(what+", "+tt.name, func(t *testing.T) {
				ended := make(chan string, 2)
				x := serve(t, tt.options, func(c *call) error {
					c.scope.Connection.OnDisconnect(func(r string) { ended <- r })
					if err := c.start(200); err != nil {
						return err
					}
					for c.scope.Connection.IsConnected() {
						if err := c.send(c.ctx, ev); err != nil {
							return err
						}
					}
					return c.more("no-op")
				})
				c := x.request(get)
				if _, err := c.Reader.ReadByte(); err != nil {
					t.Fatal(err)
				}
				tt.then(c)
				// A reset may be noticed between two writes as well as in one.
				reason := testkit.Await(t, ended)
				if reason != tt.reason && (tt.reason != pagi.ReasonWriteError || reason != pagi.ReasonClientClosed) {
					t.Errorf("reason %q, want %q", reason, tt.reason)
				}
				if rec := x.record(); rec.Err != nil || rec.Reason != reason {
					t.Errorf("record %+v", rec)
				}
				if x.log.String() != "" {
					t.Errorf("logged %s", x.log)
				}
			})
		}
	}
}

func TestSlowButMovingDownloadIsNotCut(t *testing.T) {
	const size = 8 << 20
	path := filepath.Join(t.TempDir(), "big")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	for what, ev := range map[string]pagi.HTTPResponseBody{"bytes": {Body: make([]byte, size)}, "file": {File: path, Length: pagi.ToEnd}} {
		t.Run(what, func(t *testing.T) {
			x := serve(t, engine.Handler{Timeouts: engine.Timeouts{WriteTimeout: time.Second}}, func(c *call) error {
				if err := c.start(200); err != nil {
					return err
				}
				return c.send(c.ctx, ev)
			})
			c := x.request(get)
			c.Conn.(*net.TCPConn).SetReadBuffer(64 << 10)
			res, err := http.ReadResponse(c.Reader, nil)
			if err != nil {
				t.Fatal(err)
			}
			begin, n := time.Now(), 0
			buf := make([]byte, 256<<10)
			for n < size {
				m, err := io.ReadFull(res.Body, buf)
				if n += m; err != nil {
					t.Fatalf("after %d bytes: %v", n, err)
				}
				time.Sleep(40 * time.Millisecond) // the pace under test
			}
			if d := time.Since(begin); d < time.Second {
				t.Errorf("it took only %v", d)
			}
		})
	}
}
