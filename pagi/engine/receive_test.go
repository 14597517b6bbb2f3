package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// events receives until a disconnect or the end of the body.
func events(c *call) ([]pagi.Event, error) {
	var got []pagi.Event
	for {
		ev, err := c.receive(c.ctx)
		if err != nil {
			return got, err
		}
		if e, ok := ev.(pagi.HTTPRequest); ok {
			e.Body = []byte(string(e.Body))
			got = append(got, e)
			if e.More {
				continue
			}
			return got, nil
		}
		return append(got, ev), nil
	}
}

func TestRequestBodyEvents(t *testing.T) {
	for _, tt := range []struct {
		name, request string
		want          []pagi.Event
	}{
		{"no body is one event", "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
			[]pagi.Event{pagi.HTTPRequest{Body: []byte("")}}},
		{"content-length 0 is one event", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
			[]pagi.Event{pagi.HTTPRequest{Body: []byte("")}}},
		{"content-length tells the last event", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
			[]pagi.Event{pagi.HTTPRequest{Body: []byte("hello")}}},
		{"chunked is de-chunked", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
			[]pagi.Event{pagi.HTTPRequest{Body: []byte("hello")}}},
		{"empty chunked body", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
			[]pagi.Event{pagi.HTTPRequest{Body: []byte("")}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := make(chan []pagi.Event, 1)
			x := serve(t, engine.Handler{}, func(c *call) error {
				list, err := events(c)
				got <- list
				return errors.Join(err, c.reply("ok"))
			})
			c := x.request(tt.request)
			c.Response("POST")
			list := testkit.Await(t, got)
			if strings.Contains(tt.name, "chunked") { // an empty last event may follow there
				if n := len(list); n > 1 && len(list[n-1].(pagi.HTTPRequest).Body) == 0 {
					list[n-2] = pagi.HTTPRequest{Body: list[n-2].(pagi.HTTPRequest).Body}
					list = list[:n-1]
				}
			}
			if diff := cmp.Diff(tt.want, list); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLargeBodyArrivesInPiecesWithBackPressure(t *testing.T) {
	const size = 32 << 20
	first, goOn := make(chan struct{}), make(chan struct{})
	x := serve(t, engine.Handler{}, func(c *call) error {
		total, pieces := 0, 0
		for {
			ev, err := c.receive(c.ctx)
			if err != nil {
				return err
			}
			e := ev.(pagi.HTTPRequest)
			total += len(e.Body)
			if pieces++; pieces == 1 {
				close(first)
				<-goOn
			}
			if e.More != (total < size) {
				return fmt.Errorf("more is %v after %d bytes", e.More, total)
			}
			if !e.More {
				return c.reply(fmt.Sprint(total))
			}
		}
	})
	c := x.dial()
	sent := make(chan int, 1)
	go func() {
		fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n", size)
		n, _ := io.Copy(c, io.LimitReader(zeros{}, size))
		sent <- int(n)
	}()
	testkit.Await(t, first)
	select {
	case <-sent:
		t.Error("the client could send all of it while the application had read one piece")
	case <-time.After(50 * time.Millisecond):
	}
	close(goOn)
	if _, body := c.Response("POST"); body != fmt.Sprint(size) {
		t.Errorf("read %s bytes", body)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

func TestContinueIsSentWhenTheApplicationReads(t *testing.T) {
	read := make(chan struct{})
	x := serve(t, engine.Handler{}, func(c *call) error {
		<-read
		list, err := events(c)
		return errors.Join(err, c.reply(string(list[0].(pagi.HTTPRequest).Body)))
	})
	c := x.request("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n")
	c.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	if _, err := c.Reader.Peek(1); err == nil {
		t.Fatal("something was sent before the application read")
	}
	c.SetReadDeadline(time.Now().Add(testkit.Patience))
	close(read)
	if line, err := c.Reader.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("got %q, %v", line, err)
	}
	c.Reader.ReadString('\n')
	c.Say("ok")
	if _, body := c.Response("POST"); body != "ok" {
		t.Errorf("got %q", body)
	}
}

func TestReceiveEndsWithItsContext(t *testing.T) {
	for _, tt := range []struct{ name, request string }{
		{"waiting for the end", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"},
		{"waiting for the body", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			boom := errors.New("too slow")
			x := serve(t, engine.Handler{}, func(c *call) error {
				if c.scope.Method == "GET" {
					events(c)
				}
				ctx, cancel := context.WithTimeoutCause(c.ctx, 10*time.Millisecond, boom)
				defer cancel()
				if _, err := c.receive(ctx); err != boom {
					return fmt.Errorf("receive: %w", err)
				}
				if c.scope.Method == "GET" {
					return c.reply("ok")
				}
				// What the read in the background got is not lost.
				if err := c.start(200); err != nil {
					return err
				}
				if err := c.more("send it"); err != nil {
					return err
				}
				list, err := events(c)
				if err != nil {
					return err
				}
				return c.body(string(list[0].(pagi.HTTPRequest).Body))
			})
			c := x.request(tt.request)
			if strings.HasPrefix(tt.request, "POST") {
				res, err := http.ReadResponse(c.Reader, nil)
				if err != nil {
					t.Fatal(err)
				}
				io.ReadFull(res.Body, make([]byte, len("send it")))
				c.Say("ok")
				if b, err := io.ReadAll(res.Body); err != nil || string(b) != "ok" {
					t.Errorf("got %q, %v", b, err)
				}
			} else if _, body := c.Response("GET"); body != "ok" {
				t.Errorf("got %q; log %s", body, x.log)
			}
			if rec := x.record(); rec.Err != nil {
				t.Error(rec.Err)
			}
		})
	}
}

// net/http reads the rest of a request before it writes a response; where that comes
// before the Receive, the time limit on the body ends it.
func TestReceiveAndSendOutliveTheApplication(t *testing.T) {
	for _, request := range []string{
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n",
	} {
		t.Run(request[:4], func(t *testing.T) {
			got := make(chan pagi.Event, 1)
			var leaked *call
			x := serve(t, engine.Handler{Timeouts: engine.Timeouts{BodyTimeout: 2 * time.Second}}, func(c *call) error {
				leaked = c
				if c.scope.Method == "GET" {
					events(c)
				}
				inReceive := make(chan struct{})
				go func() {
					close(inReceive)
					ev, _ := c.receive(c.ctx)
					got <- ev
				}()
				<-inReceive
				return c.reply("done")
			})
			c := x.request(request)
			if _, body := c.Response("GET"); body != "done" {
				t.Errorf("got %q", body)
			}
			if ev := testkit.Await(t, got); ev != (pagi.HTTPDisconnect{}) {
				t.Errorf("got %v", ev)
			}
			x.record()
			if err := leaked.send(context.Background(), pagi.HTTPResponseBody{Body: []byte("stray")}); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestEchoWhileReading(t *testing.T) {
	x := serve(t, engine.Handler{}, func(c *call) error {
		if err := c.start(200); err != nil {
			return err
		}
		for {
			ev, err := c.receive(c.ctx)
			if err != nil {
				return err
			}
			e := ev.(pagi.HTTPRequest)
			if err := c.send(c.ctx, pagi.HTTPResponseBody{Body: e.Body, More: e.More}); err != nil || !e.More {
				return err
			}
		}
	})
	c := x.request("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
	c.Say("1\r\na\r\n")
	res, err := http.ReadResponse(c.Reader, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		b := make([]byte, 1)
		if _, err := io.ReadFull(res.Body, b); err != nil || b[0] != byte('a'+i) {
			t.Fatalf("got %q, %v", b, err)
		}
		c.Say(fmt.Sprintf("1\r\n%c\r\n", 'b'+i))
	}
	c.Say("0\r\n\r\n")
	if b, err := io.ReadAll(res.Body); err != nil || string(b) != "f" {
		t.Errorf("rest %q, %v", b, err)
	}
	// The connection goes on to serve.
	c.Say("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nz")
	if _, body := c.Response("POST"); body != "z" {
		t.Errorf("second request: %q", body)
	}
}

// A Receive whose context has ended already leaves a read behind that does not hold the
// request up, nor does one that begins when the request ends.
func TestReadsThatBeginAtTheEnd(t *testing.T) {
	for _, tt := range []struct {
		name    string
		receive func(c *call) error
	}{
		{"of a Receive whose context has ended", func(c *call) error {
			ctx, cancel := context.WithCancel(c.ctx)
			cancel()
			if ev, err := c.receive(ctx); !errors.Is(err, context.Canceled) {
				return fmt.Errorf("received %v, %w", ev, err)
			}
			return nil
		}},
		{"of a Receive beside", func(c *call) error {
			go func() { _, _ = c.receive(context.Background()) }()
			return nil
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			onAll(t, func(t *testing.T, serve func(engine.Handler, func(*call) error) *fixture) {
				x := serve(engine.Handler{}, func(c *call) error { return errors.Join(tt.receive(c), c.reply("x")) })
				client := x.client()
				for range 50 {
					body, rest := io.Pipe() // nothing comes
					res, err := client.Post(x.url, "text/plain", body)
					if err != nil {
						t.Fatal(err)
					}
					if r := x.record(); r.Err != nil || r.Reason != "" {
						t.Errorf("record %+v", r)
					}
					res.Body.Close()
					rest.Close()
				}
			})
		})
	}
}
