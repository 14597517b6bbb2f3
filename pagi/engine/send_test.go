package engine_test

import (
	"bytes"
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

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
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
		{"204 has no content-length", closing,
			func(c *call) error { return errors.Join(c.start(204, "content-length", "0"), c.body("")) },
			"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"},
		{"304 has no body", closing,
			func(c *call) error { return errors.Join(c.start(304, "etag", "x"), c.body("dropped")) },
			"HTTP/1.1 304 Not Modified\r\nEtag: x\r\nConnection: close\r\n\r\n"},
		{"trailers", closing,
			func(c *call) error {
				return errors.Join(
					c.send(c.ctx, pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("trailer", "x-sum", "content-length", "2"), Trailers: true}),
					c.body("ab"),
					c.send(c.ctx, pagi.HTTPResponseTrailers{Headers: pagi.NewHeaders("x-more", "8", "x-sum", "7")}))
			},
			"HTTP/1.1 200 OK\r\nTrailer: x-sum\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nX-More: 8\r\nX-Sum: 7\r\n\r\n"},
		{"HTTP/1.0 without a length is ended by the close", "GET / HTTP/1.0\r\n\r\n",
			func(c *call) error { return errors.Join(c.start(200), c.more("a"), c.body("b")) },
			"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nab"},
		{"HTTP/1.0 cannot have trailers", "GET / HTTP/1.0\r\n\r\n",
			func(c *call) error {
				return errors.Join(c.send(c.ctx, pagi.HTTPResponseStart{Status: 200, Trailers: true}), c.body("b"),
					c.send(c.ctx, pagi.HTTPResponseTrailers{Headers: pagi.NewHeaders("x", "y")}))
			},
			"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\nb"},
		{"103 before the response", closing,
			func(c *call) error {
				return errors.Join(
					c.send(c.ctx, pagi.HTTPResponseInformational{Status: 103, Headers: pagi.NewHeaders("link", "</a.css>; rel=preload")}),
					c.reply("x"))
			},
			"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx"},
		{"no 103 to HTTP/1.0", "GET / HTTP/1.0\r\n\r\n",
			func(c *call) error {
				return errors.Join(c.send(c.ctx, pagi.HTTPResponseInformational{Status: 103}), c.reply("x"))
			},
			"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\nx"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := serve(t, engine.Handler{}, tt.app)
			c := x.request(tt.request)
			got := wire(c.Rest())
			if OtherEngine == nil { // net/http does not say so to HTTP/1.0
				tt.want = strings.Replace(tt.want, "HTTP/1.0 200 OK\r\nConnection: close\r\n", "HTTP/1.0 200 OK\r\n", 1)
			}
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
	x := serve(t, engine.Handler{}, func(c *call) error { return c.reply("hi") })
	t.Run("HTTP/1.1", func(t *testing.T) {
		c := x.dial()
		for range 3 {
			c.Say(get)
			if res, body := c.Response("GET"); body != "hi" || res.Close {
				t.Errorf("%v %q", res, body)
			}
		}
	})
	t.Run("HTTP/1.0 that asks", func(t *testing.T) {
		c := x.dial()
		for range 2 {
			c.Say("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
			if res, body := c.Response("GET"); body != "hi" || res.Header.Get("Connection") != "keep-alive" {
				t.Errorf("%v %q", res, body)
			}
		}
	})
	t.Run("application closes", func(t *testing.T) {
		x := serve(t, engine.Handler{}, func(c *call) error {
			return errors.Join(c.start(200, "connection", "close"), c.body("x"))
		})
		c := x.request(get)
		c.Response("GET")
		c.Closed()
	})
}

func TestEventsOutOfOrder(t *testing.T) {
	start := pagi.HTTPResponseStart{Status: 200}
	body, more := pagi.HTTPResponseBody{}, pagi.HTTPResponseBody{Body: []byte("x"), More: true}
	for _, tt := range []struct {
		name   string
		before []pagi.Event
		bad    pagi.Event
		after  []pagi.Event
	}{
		{"second start", []pagi.Event{start}, start, []pagi.Event{body}},
		{"body before start", nil, body, []pagi.Event{start, body}},
		{"body after the end", []pagi.Event{start, body}, body, nil},
		{"start after the end", []pagi.Event{start, body}, start, nil},
		{"trailers that were not announced", []pagi.Event{start, more}, pagi.HTTPResponseTrailers{}, []pagi.Event{body}},
		{"trailers before the body's end", []pagi.Event{pagi.HTTPResponseStart{Status: 200, Trailers: true}, more}, pagi.HTTPResponseTrailers{}, []pagi.Event{body, pagi.HTTPResponseTrailers{}}},
		{"body after the body's end", []pagi.Event{pagi.HTTPResponseStart{Status: 200, Trailers: true}, body}, more, []pagi.Event{pagi.HTTPResponseTrailers{}}},
		{"trailers twice", []pagi.Event{pagi.HTTPResponseStart{Status: 200, Trailers: true}, body, pagi.HTTPResponseTrailers{}}, pagi.HTTPResponseTrailers{}, nil},
		{"informational after start", []pagi.Event{start}, pagi.HTTPResponseInformational{Status: 103}, []pagi.Event{body}},
		{"event of another protocol", nil, pagi.WebSocketAccept{}, []pagi.Event{start, body}},
		{"header that breaks its line", nil, pagi.HTTPResponseStart{Status: 200, Headers: pagi.Headers{{Name: "x", Value: "a\r\nb: c"}}}, []pagi.Event{start, body}},
		{"content-length that is no number", nil, pagi.HTTPResponseStart{Status: 200, Headers: pagi.Headers{{Name: "content-length", Value: "-1"}}}, []pagi.Event{start, body}},
		{"two content-lengths", nil, pagi.HTTPResponseStart{Status: 200, Headers: pagi.Headers{{Name: "content-length", Value: "1"}, {Name: "content-length", Value: "2"}}}, []pagi.Event{start, body}},
		{"file that is not there", []pagi.Event{start}, pagi.HTTPResponseBody{File: "/nonexistent", Length: pagi.ToEnd}, []pagi.Event{body}},
		{"file that is a directory", []pagi.Event{start}, pagi.HTTPResponseBody{File: "/", Length: pagi.ToEnd}, []pagi.Event{body}},
		{"body too long, before anything was written", []pagi.Event{pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-length", "0")}}, more, []pagi.Event{body}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var err error
			x := serve(t, engine.Handler{}, func(c *call) error {
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
			if res, _ := c.Response("GET"); res.StatusCode != 200 {
				t.Errorf("response %v", res)
			}
			if rec := x.record(); rec.Err != nil || rec.Reason != "" {
				t.Errorf("record %+v", rec)
			}
			var ee *pagi.EventError
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
		"fullflush":   func(c *call, s string) error { return c.send(c.ctx, pagi.HTTPFullFlush{}) },
	} {
		t.Run(name, func(t *testing.T) {
			x := serve(t, engine.Handler{Timeouts: engine.Timeouts{WriteTimeout: time.Minute}}, func(c *call) error {
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
			res, err := http.ReadResponse(c.Reader, nil)
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
			return errors.Join(c.start(200), c.send(c.ctx, pagi.HTTPResponseBody{File: small, Length: pagi.ToEnd}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			writes := make(chan int, 10)
			x := start(t, engine.Handler{}, app, func(s *httptest.Server) {
				s.Listener = writeCounter{s.Listener, writes}
				s.Start()
			})
			c := x.request("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
			c.Rest()
			if n := len(writes); n != 1 {
				t.Errorf("%d writes", n)
			}
		})
	}
}

func TestCompleteOnceDelivered(t *testing.T) {
	var order []string
	var conn pagi.Connection
	x := serve(t, engine.Handler{}, func(c *call) error {
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
		if ev, err := c.receive(c.ctx); err != nil || ev.EventType() != "http.request" && ev != (pagi.HTTPDisconnect{}) {
			return fmt.Errorf("receive: %v, %w", ev, err)
		}
		if ev, err := c.receive(c.ctx); err != nil || ev != (pagi.HTTPDisconnect{}) {
			return fmt.Errorf("receive: %v, %w", ev, err)
		}
		if c.ctx.Err() != nil {
			order = append(order, "context ended")
		}
		return nil
	})
	x.request(get).Response("GET")
	if rec := x.record(); rec.Err != nil || rec.Reason != "" || rec.Bytes != 1 {
		t.Errorf("record %+v", rec)
	}
	if strings.Join(order, ",") != "complete,after" || conn.IsConnected() || conn.DisconnectReason() != "" || !conn.ResponseComplete() {
		t.Errorf("order %v", order)
	}
}
