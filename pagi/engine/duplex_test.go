package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// A Receive and a Send may run at the same time.
func TestReceiveWhileSending(t *testing.T) {
	const size = 1 << 20
	sent := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	var chunked bytes.Buffer
	for rest := sent; len(rest) > 0; rest = rest[8<<10:] {
		fmt.Fprintf(&chunked, "%x\r\n%s\r\n", 8<<10, rest[:8<<10])
	}
	chunked.WriteString("0\r\n\r\n")
	for _, tt := range []struct {
		name, header string
		body         []byte
	}{
		{"known length", fmt.Sprint("Content-Length: ", size), sent},
		{"chunks", "Transfer-Encoding: chunked", chunked.Bytes()},
		{"expected", fmt.Sprint("Expect: 100-continue\r\nContent-Length: ", size), sent},
	} {
		t.Run(tt.name, func(t *testing.T) {
			options := engine.Handler{Timeouts: engine.Timeouts{BodyTimeout: testkit.Patience, WriteTimeout: testkit.Patience, RequestTimeout: testkit.Patience}}
			x := serve(t, options, func(c *call) error {
				received := make(chan error, 1)
				go func() {
					n := 0
					for {
						ev, err := c.receive(c.ctx)
						e, ok := ev.(pagi.HTTPRequest)
						if n += len(e.Body); err != nil || !ok || !e.More {
							if err == nil && n != size {
								err = fmt.Errorf("%d bytes came, and then %#v", n, ev)
							}
							received <- err
							return
						}
					}
				}()
				// Without a length, so that it is chunked.
				err := c.start(200)
				for i := 0; i < 64 && err == nil; i++ {
					err = c.more(strings.Repeat("x", 1000))
				}
				// The body's end and the response's fall together as they like.
				return errors.Join(err, <-received, c.body("end"))
			})
			c := x.dial()
			go func() {
				_, _ = fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n", tt.header)
				_, _ = c.Write(tt.body) // what did not arrive the application tells
			}()
			res, err := http.ReadResponse(c.Reader, nil)
			for err == nil && res.StatusCode == http.StatusContinue {
				res, err = http.ReadResponse(c.Reader, nil)
			}
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(res.Body)
			if want := 64*1000 + len("end"); err != nil || res.StatusCode != 200 || len(body) != want {
				t.Errorf("status %d, %d bytes, %v", res.StatusCode, len(body), err)
			}
			if rec := x.record(); rec.Err != nil || rec.Reason != "" || x.log.String() != "" {
				t.Errorf("record %+v, log %s", rec, x.log)
			}
		})
	}
}

// A response may begin at any point of a Receive.
func TestSendBeginsWhileReceiving(t *testing.T) {
	var pause time.Duration
	x := serve(t, engine.Handler{}, func(c *call) error {
		received := make(chan error, 1)
		go func() {
			_, err := events(c)
			received <- err
		}()
		time.Sleep(pause) // orders nothing, which is what is under test
		err := errors.Join(c.start(200, "content-length", "2"), c.more("o"))
		return errors.Join(err, <-received, c.body("k"))
	})
	for range 20 {
		c := x.request("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
		if res, body := c.Response("POST"); res.StatusCode != 200 || body != "ok" {
			t.Fatalf("status %d, %q", res.StatusCode, body)
		}
		x.record()
		pause += 100 * time.Microsecond
	}
}

// A request that stalls while a Receive waits is cut, whatever has been sent.
func TestStallWhileReceiving(t *testing.T) {
	for _, header := range []string{"Content-Length: 9", "Transfer-Encoding: chunked"} {
		t.Run(header, func(t *testing.T) {
			received := make(chan pagi.Event, 1)
			x := serve(t, engine.Handler{Timeouts: engine.Timeouts{RequestTimeout: 50 * time.Millisecond}}, func(c *call) error {
				if err := errors.Join(c.start(200), c.more("begun")); err != nil {
					return err
				}
				for {
					ev, err := c.receive(c.ctx)
					if e, ok := ev.(pagi.HTTPRequest); err != nil || !ok || !e.More {
						received <- ev
						return err
					}
				}
			})
			c := x.request("POST / HTTP/1.1\r\nHost: x\r\n" + header + "\r\n\r\n5\r\n")
			res, err := http.ReadResponse(c.Reader, nil)
			if err != nil {
				t.Fatal(err)
			}
			if body, err := io.ReadAll(res.Body); err == nil || string(body) != "begun" {
				t.Errorf("%q, %v", body, err)
			}
			if ev := testkit.Await(t, received); ev != (pagi.HTTPDisconnect{}) {
				t.Errorf("received %#v", ev)
			}
			if rec := x.record(); rec.Reason != pagi.ReasonClientTimeout {
				t.Errorf("record %+v", rec)
			}
		})
	}
}
