package pagi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

// wire strips what differs from run to run.
func wire(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		if !strings.HasPrefix(line, "Date: ") {
			b.WriteString(line)
		}
	}
	return b.String()
}

func TestResponsesOnTheWire(t *testing.T) {
	const closing = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
	for _, tt := range []struct {
		name, request string
		app           func(c *call) error
		want          string
	}{
		{"complete in one event gets a content-length", closing,
			func(c *call) error { return c.reply("hello") },
			"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello"},
		{"empty", closing,
			func(c *call) error { return errors.Join(c.start(200), c.body("")) },
			"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"},
		{"no content-type is guessed", closing,
			func(c *call) error { return errors.Join(c.start(200), c.body("<html>")) },
			"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\n<html>"},
		{"streamed is chunked", closing,
			func(c *call) error { return errors.Join(c.start(200), c.more("ab"), c.more("c"), c.body("d")) },
			"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n1\r\nd\r\n0\r\n\r\n"},
		{"streamed with a content-length is not", closing,
			func(c *call) error {
				return errors.Join(c.start(200, "content-length", "3"), c.more("ab"), c.body("c"))
			},
			"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc"},
		{"transfer-encoding and connection are the server's", closing,
			func(c *call) error {
				return errors.Join(c.start(200, "transfer-encoding", "gzip", "connection", "upgrade"), c.body("x"))
			},
			"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx"},
		{"duplicates stay in order", closing,
			func(c *call) error {
				return errors.Join(c.start(200, "set-cookie", "b=1", "set-cookie", "a=2"), c.body(""))
			},
			"HTTP/1.1 200 OK\r\nSet-Cookie: b=1\r\nSet-Cookie: a=2\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"},
		{"HEAD keeps the content-length and drops the body", "HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
			func(c *call) error { return errors.Join(c.start(200, "content-length", "9"), c.body("dropped")) },
			"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n"},
		{"HEAD of a body in one event", "HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
			func(c *call) error { return errors.Join(c.start(200), c.body("hello")) },
			"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\n"},
		{"204 has no body", closing,
			func(c *call) error { return errors.Join(c.start(204), c.body("dropped")) },
			"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"},
		{"304 has no body", closing,
			func(c *call) error { return errors.Join(c.start(304, "etag", "x"), c.body("dropped")) },
			"HTTP/1.1 304 Not Modified\r\nEtag: x\r\nConnection: close\r\n\r\n"},
		{"trailers", closing,
			func(c *call) error {
				return errors.Join(
					c.send(c.ctx, HTTPResponseStart{Status: 200, Headers: NewHeaders("trailer", "x-sum", "content-length", "2"), Trailers: true}),
					c.body("ab"),
					c.send(c.ctx, HTTPResponseTrailers{Headers: NewHeaders("x-sum", "7", "x-more", "8")}))
			},
			"HTTP/1.1 200 OK\r\nTrailer: x-sum\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-More: 8\r\nX-Sum: 7\r\n\r\n"},
		{"HTTP/1.0 without a length is ended by the close", "GET / HTTP/1.0\r\n\r\n",
			func(c *call) error { return errors.Join(c.start(200), c.more("a"), c.body("b")) },
			"HTTP/1.0 200 OK\r\n\r\nab"},
		{"HTTP/1.0 cannot have trailers", "GET / HTTP/1.0\r\n\r\n",
			func(c *call) error {
				return errors.Join(c.send(c.ctx, HTTPResponseStart{Status: 200, Trailers: true}), c.body("b"),
					c.send(c.ctx, HTTPResponseTrailers{Headers: NewHeaders("x", "y")}))
			},
			"HTTP/1.0 200 OK\r\n\r\nb"},
		{"103 before the response", closing,
			func(c *call) error {
				return errors.Join(
					c.send(c.ctx, HTTPResponseInformational{Status: 103, Headers: NewHeaders("link", "</a.css>; rel=preload")}),
					c.reply("x"))
			},
			"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx"},
		{"no 103 to HTTP/1.0", "GET / HTTP/1.0\r\n\r\n",
			func(c *call) error {
				return errors.Join(c.send(c.ctx, HTTPResponseInformational{Status: 103}), c.reply("x"))
			},
			"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\nx"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := serve(t, HTTPHandler{}, tt.app)
			c := x.request(tt.request)
			got := wire(c.rest())
			// net/http puts what it adds itself in an order of its own.
			if sortHead(got) != sortHead(tt.want) {
				t.Errorf("got  %q\nwant %q", got, tt.want)
			}
			if rec := x.record(); rec.Err != nil || rec.Reason != "" {
				t.Errorf("record %+v", rec)
			}
		})
	}
}

// sortHead sorts the header lines of the last head in s.
func sortHead(s string) string {
	head, body, _ := strings.Cut(s, "\r\n\r\n")
	if strings.HasPrefix(body, "HTTP/") {
		return head + "\r\n\r\n" + sortHead(body)
	}
	first, rest, _ := strings.Cut(head, "\r\n")
	lines := strings.Split(rest, "\r\n")
	for i := range lines {
		for j := range i {
			if lines[j] > lines[i] {
				lines[i], lines[j] = lines[j], lines[i]
			}
		}
	}
	return first + "\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n" + body
}

func TestKeepAlive(t *testing.T) {
	x := serve(t, HTTPHandler{}, func(c *call) error { return c.reply("hi") })
	t.Run("HTTP/1.1", func(t *testing.T) {
		c := x.dial()
		for range 3 {
			c.write(get)
			if res, body := c.response("GET"); body != "hi" || res.Close {
				t.Errorf("%v %q", res, body)
			}
		}
	})
	t.Run("HTTP/1.0 that asks", func(t *testing.T) {
		c := x.dial()
		for range 2 {
			c.write("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
			if res, body := c.response("GET"); body != "hi" || res.Header.Get("Connection") != "keep-alive" {
				t.Errorf("%v %q", res, body)
			}
		}
	})
	t.Run("application closes", func(t *testing.T) {
		x := serve(t, HTTPHandler{}, func(c *call) error {
			return errors.Join(c.start(200, "connection", "close"), c.body("x"))
		})
		c := x.request(get)
		c.response("GET")
		c.closed()
	})
}

func TestEventsOutOfOrder(t *testing.T) {
	start := HTTPResponseStart{Status: 200}
	body, more := HTTPResponseBody{}, HTTPResponseBody{Body: []byte("x"), More: true}
	for _, tt := range []struct {
		name   string
		before []Event
		bad    Event
		after  []Event
	}{
		{"second start", []Event{start}, start, []Event{body}},
		{"body before start", nil, body, []Event{start, body}},
		{"body after the end", []Event{start, body}, body, nil},
		{"start after the end", []Event{start, body}, start, nil},
		{"trailers that were not announced", []Event{start, more}, HTTPResponseTrailers{}, []Event{body}},
		{"trailers before the body's end", []Event{HTTPResponseStart{Status: 200, Trailers: true}, more}, HTTPResponseTrailers{}, []Event{body, HTTPResponseTrailers{}}},
		{"body after the body's end", []Event{HTTPResponseStart{Status: 200, Trailers: true}, body}, more, []Event{HTTPResponseTrailers{}}},
		{"trailers twice", []Event{HTTPResponseStart{Status: 200, Trailers: true}, body, HTTPResponseTrailers{}}, HTTPResponseTrailers{}, nil},
		{"informational after start", []Event{start}, HTTPResponseInformational{Status: 103}, []Event{body}},
		{"event of another protocol", nil, WebSocketAccept{}, []Event{start, body}},
		{"header that breaks its line", nil, HTTPResponseStart{Status: 200, Headers: Headers{{"x", "a\r\nb: c"}}}, []Event{start, body}},
		{"content-length that is no number", nil, HTTPResponseStart{Status: 200, Headers: Headers{{"content-length", "-1"}}}, []Event{start, body}},
		{"two content-lengths", nil, HTTPResponseStart{Status: 200, Headers: Headers{{"content-length", "1"}, {"content-length", "2"}}}, []Event{start, body}},
		{"file that is not there", []Event{start}, HTTPResponseBody{File: "/nonexistent"}, []Event{body}},
		{"file that is a directory", []Event{start}, HTTPResponseBody{File: "/"}, []Event{body}},
		{"body too long, before anything was written", []Event{HTTPResponseStart{Status: 200, Headers: NewHeaders("content-length", "0")}}, more, []Event{body}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var err error
			x := serve(t, HTTPHandler{}, func(c *call) error {
				for _, ev := range tt.before {
					if err := c.send(c.ctx, ev); err != nil {
						return err
					}
				}
				err = c.send(c.ctx, tt.bad)
				for _, ev := range tt.after {
					if err := c.send(c.ctx, ev); err != nil {
						return err
					}
				}
				return nil
			})
			c := x.request(get)
			if res, _ := c.response("GET"); res.StatusCode != 200 {
				t.Errorf("response %v", res)
			}
			if rec := x.record(); rec.Err != nil || rec.Reason != "" {
				t.Errorf("record %+v", rec)
			}
			var ee *EventError
			if err == nil || !strings.Contains(tt.name, "file") && !errors.As(err, &ee) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestChunksArriveAtOnce(t *testing.T) {
	next := make(chan struct{})
	for name, send := range map[string]func(c *call, s string) error{
		"body events": (*call).more,
		"fullflush":   func(c *call, s string) error { return c.send(c.ctx, HTTPFullFlush{}) },
	} {
		t.Run(name, func(t *testing.T) {
			x := serve(t, HTTPHandler{WriteTimeout: time.Minute}, func(c *call) error {
				if err := c.start(200); err != nil {
					return err
				}
				if err := send(c, ""); err != nil { // the head alone
					return err
				}
				<-next
				for range 3 {
					if err := c.more("x"); err != nil {
						return err
					}
					<-next
				}
				return c.body("")
			})
			c := x.request(get)
			res, err := http.ReadResponse(c.r, nil)
			if err != nil {
				t.Fatal(err)
			}
			next <- struct{}{}
			for range 3 {
				if _, err := io.ReadFull(res.Body, make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
				next <- struct{}{}
			}
			if b, err := io.ReadAll(res.Body); err != nil || len(b) > 0 {
				t.Errorf("rest %q, %v", b, err)
			}
		})
	}
}

// writeCounter counts the writes on a listener's connections.
type writeCounter struct {
	net.Listener
	writes chan int
}

type countedConn struct {
	net.Conn
	writes chan int
}

func (l writeCounter) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return countedConn{c, l.writes}, err
}

func (c countedConn) Write(p []byte) (int, error) {
	c.writes <- len(p)
	return c.Conn.Write(p)
}

func TestSmallResponseIsOneWrite(t *testing.T) {
	small := filepath.Join(t.TempDir(), "small")
	if err := os.WriteFile(small, bytes.Repeat([]byte("x"), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, app := range map[string]func(c *call) error{
		"body": func(c *call) error { return c.reply("hello") },
		"file": func(c *call) error {
			return errors.Join(c.start(200), c.send(c.ctx, HTTPResponseBody{File: small}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			writes := make(chan int, 10)
			x := start(t, HTTPHandler{}, app, func(s *httptest.Server) {
				s.Listener = writeCounter{s.Listener, writes}
				s.Start()
			})
			c := x.request("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			c.rest()
			if n := len(writes); n != 1 {
				t.Errorf("%d writes", n)
			}
		})
	}
}

func TestFiles(t *testing.T) {
	const size = 300_000
	content := make([]byte, size)
	for i := range content {
		content[i] = byte(i * 7)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "big")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	open := func(c *call) *os.File {
		f, err := os.Open(path)
		if err != nil {
			panic(err)
		}
		context.AfterFunc(c.ctx, func() { f.Close() })
		return f
	}
	for _, tt := range []struct {
		name    string
		body    func(c *call) HTTPResponseBody
		want    []byte
		chunked bool
	}{
		{"file", func(*call) HTTPResponseBody { return HTTPResponseBody{File: path, More: true} }, content, false},
		{"file with offset", func(*call) HTTPResponseBody { return HTTPResponseBody{File: path, Offset: 1000} }, content[1000:], false},
		{"file with offset and length", func(*call) HTTPResponseBody { return HTTPResponseBody{File: path, Offset: 1000, Length: 200_000} }, content[1000:201_000], false},
		{"small piece of a file", func(*call) HTTPResponseBody { return HTTPResponseBody{File: path, Offset: 5, Length: 10} }, content[5:15], false},
		{"length beyond the end", func(*call) HTTPResponseBody { return HTTPResponseBody{File: path, Offset: size - 10, Length: 100} }, content[size-10:], false},
		{"offset beyond the end sends nothing", func(*call) HTTPResponseBody { return HTTPResponseBody{File: path, Offset: size + 1} }, nil, false},
		{"handle", func(c *call) HTTPResponseBody { return HTTPResponseBody{FH: open(c)} }, content, false},
		{"handle from where it stands", func(c *call) HTTPResponseBody {
			f := open(c)
			f.Seek(50_000, io.SeekStart)
			return HTTPResponseBody{FH: f, Length: 100_000}
		}, content[50_000:150_000], false},
		{"handle with offset and length", func(c *call) HTTPResponseBody { return HTTPResponseBody{FH: open(c), Offset: 1000, Length: 200_000} }, content[1000:201_000], false},
		{"reader", func(*call) HTTPResponseBody { return HTTPResponseBody{FH: io.MultiReader(bytes.NewReader(content))} }, content, true},
		{"reader with length", func(*call) HTTPResponseBody {
			return HTTPResponseBody{FH: io.MultiReader(bytes.NewReader(content)), Length: 70_000}
		}, content[:70_000], true},
		{"seeker that is no file", func(*call) HTTPResponseBody { return HTTPResponseBody{FH: bytes.NewReader(content), Offset: 7} }, content[7:], true},
	} {
		for _, options := range []HTTPHandler{{}, {WriteTimeout: time.Minute}} {
			t.Run(fmt.Sprintf("%s, write timeout %v", tt.name, options.WriteTimeout), func(t *testing.T) {
				x := serve(t, options, func(c *call) error {
					if err := c.start(200); err != nil {
						return err
					}
					return c.send(c.ctx, tt.body(c))
				})
				c := x.dial()
				for _, method := range []string{"GET", "HEAD", "GET"} {
					c.write("%s / HTTP/1.1\r\nHost: x\r\n\r\n", method)
					res, body := c.response(method)
					if !tt.chunked && res.ContentLength != int64(len(tt.want)) {
						t.Errorf("%s: content-length %d, want %d", method, res.ContentLength, len(tt.want))
					}
					if method == "GET" && body != string(tt.want) {
						t.Errorf("got %d bytes, want %d", len(body), len(tt.want))
					}
					rec := x.record()
					if rec.Err != nil || rec.Reason != "" || method == "GET" && rec.Bytes != int64(len(tt.want)) {
						t.Errorf("record %+v", rec)
					}
				}
			})
		}
	}
	for _, tt := range []struct {
		name string
		ev   HTTPResponseBody
	}{
		{"file that is not there", HTTPResponseBody{File: filepath.Join(dir, "none")}},
		{"directory", HTTPResponseBody{File: dir}},
		{"closed handle", HTTPResponseBody{FH: func() *os.File { f, _ := os.Open(path); f.Close(); return f }()}},
		{"reader that cannot seek", HTTPResponseBody{FH: io.MultiReader(), Offset: 1}},
	} {
		t.Run(tt.name+" becomes 500", func(t *testing.T) {
			x := serve(t, HTTPHandler{}, func(c *call) error {
				if err := c.start(200, "x-of-the-app", "1"); err != nil {
					return err
				}
				err := c.send(c.ctx, tt.ev)
				if err == nil {
					t.Error("no error")
				}
				return err
			})
			c := x.request(get)
			if res, _ := c.response("GET"); res.StatusCode != 500 || res.Header.Get("X-Of-The-App") != "" {
				t.Errorf("response %v", res)
			}
		})
	}
}

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
		{"panic", func(c *call) error { panic("ouch") }, 500, "Internal Server Error\n", "", []string{"ouch", "stack=", "http_send_test.go"}},
		{"declined", func(c *call) error { return Unsupported(c.scope) }, 500, "Internal Server Error\n", "", []string{"unsupported scope"}},
		{"start without a body", func(c *call) error { return c.start(201) }, 500, "Internal Server Error\n", "", []string{"without a response"}},
		{"status error", func(c *call) error {
			return fmt.Errorf("wrapped: %w", &StatusError{Status: 503, Message: "come back", Headers: NewHeaders("retry-after", "7"), Err: errors.New("full")})
		}, 503, "come back\n", "7", []string{"full"}},
		{"status error that is the client's", func(c *call) error { return &StatusError{Status: 404} }, 404, "Not Found\n", "", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var conn *Connection
			var order []string
			x := serve(t, HTTPHandler{}, func(c *call) error {
				conn = c.scope.Connection
				conn.OnDisconnect(func(r string) { order = append(order, r) })
				conn.OnComplete(func() { order = append(order, "complete") })
				return tt.app(c)
			})
			c := x.request(get)
			res, body := c.response("GET")
			if res.StatusCode != tt.status || body != tt.body || res.Header.Get("Retry-After") != tt.header ||
				!strings.HasPrefix(res.Header.Get("Content-Type"), "text/plain") {
				t.Errorf("response %v %q", res, body)
			}
			rec := x.record()
			if rec.Status != tt.status || rec.Reason != ReasonServerError {
				t.Errorf("record %+v", rec)
			}
			if !conn.ResponseStarted() || conn.ResponseComplete() || len(order) != 1 || order[0] != ReasonServerError {
				t.Errorf("connection: started %v, order %v", conn.ResponseStarted(), order)
			}
			if tt.log != nil {
				x.logged(tt.log...)
			} else if x.log.String() != "" {
				t.Errorf("logged %s", x.log)
			}
		})
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
			c.send(c.ctx, HTTPResponseStart{Status: 200, Trailers: true})
			c.body("x")
			return nil
		}, "before the response was complete"},
		{"asked for", func(c *call) error { c.start(200); c.more("x"); panic(http.ErrAbortHandler) }, ""},
	} {
		for _, version := range []string{"1.0", "1.1", "2"} {
			t.Run(tt.name+", HTTP/"+version, func(t *testing.T) {
				var reason string
				x := start(t, HTTPHandler{}, func(c *call) error {
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
					if res, err = http.ReadResponse(c.r, nil); err == nil {
						_, err = io.ReadAll(res.Body)
					}
				}
				if err == nil {
					t.Error("the client cannot tell")
				}
				x.record()
				if reason != ReasonServerError {
					t.Errorf("reason %q", reason)
				}
				if tt.log != "" {
					x.logged(tt.log)
				} else if x.log.String() != "" {
					t.Errorf("logged %s", x.log)
				}
			})
		}
	}
}

func TestCompleteOnceDelivered(t *testing.T) {
	var order []string
	var conn *Connection
	x := serve(t, HTTPHandler{}, func(c *call) error {
		conn = c.scope.Connection
		conn.OnDisconnect(func(r string) { order = append(order, "disconnect "+r) })
		conn.OnComplete(func() {
			order = append(order, "complete")
			if err := c.more("from a callback"); err == nil {
				order = append(order, "no error")
			}
		})
		if conn.ResponseStarted() {
			order = append(order, "started too early")
		}
		if err := c.start(200); err != nil {
			return err
		}
		if !conn.ResponseStarted() || conn.ResponseComplete() {
			order = append(order, "flags wrong")
		}
		if err := c.body("x"); err != nil {
			return err
		}
		order = append(order, "after")
		if ev, err := c.receive(c.ctx); err != nil || ev.EventType() != "http.request" && ev != (HTTPDisconnect{}) {
			return fmt.Errorf("receive: %v, %w", ev, err)
		}
		if ev, err := c.receive(c.ctx); err != nil || ev != (HTTPDisconnect{}) {
			return fmt.Errorf("receive: %v, %w", ev, err)
		}
		if c.ctx.Err() != nil {
			order = append(order, "context ended")
		}
		return nil
	})
	x.request(get).response("GET")
	if rec := x.record(); rec.Err != nil || rec.Reason != "" || rec.Bytes != 1 {
		t.Errorf("record %+v", rec)
	}
	if strings.Join(order, ",") != "complete,after" || conn.IsConnected() || conn.DisconnectReason() != "" || !conn.ResponseComplete() {
		t.Errorf("order %v", order)
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
	for what, ev := range map[string]HTTPResponseBody{"bytes": {Body: big, More: true}, "file": {File: path}} {
		for _, tt := range []struct {
			name, reason string
			options      HTTPHandler
			then         func(c *client)
		}{
			{"client stops reading", ReasonWriteTimeout, HTTPHandler{WriteTimeout: 50 * time.Millisecond}, func(*client) {}},
			{"client stops reading, request timeout", ReasonWriteTimeout, HTTPHandler{RequestTimeout: 50 * time.Millisecond}, func(*client) {}},
			{"client resets", ReasonWriteError, HTTPHandler{}, func(c *client) {
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
				if _, err := c.r.ReadByte(); err != nil {
					t.Fatal(err)
				}
				tt.then(c)
				// A reset may be noticed between two writes as well as in one.
				reason := await(t, ended)
				if reason != tt.reason && (tt.reason != ReasonWriteError || reason != ReasonClientClosed) {
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
	for what, ev := range map[string]HTTPResponseBody{"bytes": {Body: make([]byte, size)}, "file": {File: path}} {
		t.Run(what, func(t *testing.T) {
			x := serve(t, HTTPHandler{WriteTimeout: 150 * time.Millisecond}, func(c *call) error {
				if err := c.start(200); err != nil {
					return err
				}
				return c.send(c.ctx, ev)
			})
			c := x.request(get)
			c.Conn.(*net.TCPConn).SetReadBuffer(64 << 10)
			res, err := http.ReadResponse(c.r, nil)
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
				time.Sleep(10 * time.Millisecond) // the pace under test
			}
			if d := time.Since(begin); d < 150*time.Millisecond {
				t.Errorf("it took only %v", d)
			}
		})
	}
}

func TestHTTP2(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, bytes.Repeat([]byte("f"), 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	running := make(chan struct{}, 1)
	seen := make(chan outcome, 1)
	x := start(t, HTTPHandler{WriteTimeout: time.Minute, BodyTimeout: time.Minute, MaxBodySize: 10}, func(c *call) error {
		switch c.scope.Path {
		case "/file":
			return errors.Join(c.start(200), c.send(c.ctx, HTTPResponseBody{File: path}))
		case "/trailers":
			return errors.Join(
				c.send(c.ctx, HTTPResponseInformational{Status: 103, Headers: NewHeaders("link", "<x>")}),
				c.send(c.ctx, HTTPResponseStart{Status: 200, Trailers: true}), c.more("a"), c.body("b"),
				c.send(c.ctx, HTTPResponseTrailers{Headers: NewHeaders("x-sum", "1")}))
		case "/wait":
			running <- struct{}{}
			o, err := observe(c)
			seen <- o
			return err
		}
		list, err := events(c)
		if err != nil {
			return err
		}
		if _, ok := list[len(list)-1].(HTTPDisconnect); ok {
			return nil
		}
		return c.reply(fmt.Sprint(len(list)))
	}, func(s *httptest.Server) { s.EnableHTTP2 = true; s.StartTLS() })
	client := x.srv.Client()
	do := func(t *testing.T, r *http.Request) (*http.Response, string) {
		t.Helper()
		res, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil || res.ProtoMajor != 2 {
			t.Fatalf("%v %v", res, err)
		}
		return res, string(b)
	}
	req := func(path string, body io.Reader) *http.Request {
		r, err := http.NewRequest("POST", x.url+path, body)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	t.Run("file", func(t *testing.T) {
		if res, b := do(t, req("/file", nil)); len(b) != 100_000 || res.ContentLength != 100_000 {
			t.Errorf("%v, %d bytes", res, len(b))
		}
	})
	t.Run("trailers", func(t *testing.T) {
		if res, b := do(t, req("/trailers", nil)); b != "ab" || res.Trailer.Get("X-Sum") != "1" {
			t.Errorf("%q %v", b, res.Trailer)
		}
	})
	t.Run("no body", func(t *testing.T) {
		if _, b := do(t, req("/", nil)); b != "1" {
			t.Errorf("%s events", b)
		}
	})
	t.Run("body with a length", func(t *testing.T) {
		if _, b := do(t, req("/", strings.NewReader("abc"))); b != "1" {
			t.Errorf("%s events", b)
		}
	})
	t.Run("announced body too large", func(t *testing.T) {
		if res, _ := do(t, req("/", strings.NewReader("12345678901"))); res.StatusCode != 413 {
			t.Errorf("%v", res)
		}
	})
	t.Run("body found too large", func(t *testing.T) {
		if res, _ := do(t, req("/", io.MultiReader(strings.NewReader("12345678901")))); res.StatusCode != 413 {
			t.Errorf("%v", res)
		}
	})
	t.Run("client resets the stream", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		go client.Do(req("/wait", nil).WithContext(ctx))
		await(t, running)
		cancel()
		if o := await(t, seen); o.reason != ReasonClientClosed {
			t.Errorf("%+v", o)
		}
	})
}
