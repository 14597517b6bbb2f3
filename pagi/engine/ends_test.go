package engine_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// outcome is what an application saw of an abnormal end.
type outcome struct {
	order  []string
	reason string
	cause  error
}

// observe records the order in which the end shows; the application then receives
// until it gets the disconnect. ready is called when an end will be seen: the client may
// cause one.
func observe(c *call, ready func()) (outcome, error) {
	var o outcome
	conn := c.scope.Connection
	disconnected := conn.Disconnected()
	conn.OnComplete(func() { o.order = append(o.order, "complete") })
	conn.OnDisconnect(func(reason string) {
		select {
		case <-disconnected:
		default:
			reason += " (channel open)"
		}
		if conn.IsConnected() || conn.DisconnectReason() == "" {
			reason += " (state not set)"
		}
		o.order = append(o.order, "callback "+reason)
	})
	ready()
	for {
		ev, err := c.receive(c.ctx)
		if err != nil {
			return o, err
		}
		if _, gone := ev.(pagi.HTTPDisconnect); gone {
			o.order = append(o.order, "event")
			break
		}
	}
	select {
	case <-c.ctx.Done():
	case <-time.After(testkit.Patience):
		return o, errors.New("context did not end")
	}
	o.reason, o.cause = conn.DisconnectReason(), context.Cause(c.ctx)
	if err := c.reply("too late"); err != nil {
		return o, fmt.Errorf("send after the disconnect: %w", err)
	}
	if ev, err := c.receive(c.ctx); err != nil || ev != (pagi.HTTPDisconnect{}) {
		return o, fmt.Errorf("receive after the disconnect: %v, %w", ev, err)
	}
	return o, nil
}

func TestAbnormalEnds(t *testing.T) {
	reset := func(c *testkit.Conn) {
		c.Conn.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
	for _, tt := range []struct {
		name    string
		options engine.Handler
		request string
		then    func(c *testkit.Conn) // nil: wait for the response
		status  int
		reasons string // any of these
		log     []string
	}{
		{"client leaves while the application waits", engine.Handler{}, "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
			func(c *testkit.Conn) { c.Close() }, 0, pagi.ReasonClientClosed, nil},
		{"client resets while the application waits", engine.Handler{}, "GET / HTTP/1.1\r\nHost: x\r\n\r\n", reset, 0, pagi.ReasonClientClosed, nil},
		{"client leaves in the middle of its body", engine.Handler{}, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc",
			func(c *testkit.Conn) { c.Close() }, 0, pagi.ReasonClientClosed, nil},
		{"client leaves in the middle of a chunk", engine.Handler{}, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
			func(c *testkit.Conn) { c.Close() }, 0, pagi.ReasonClientClosed, nil},
		{"client resets in the middle of its body", engine.Handler{}, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc",
			reset, 0, pagi.ReasonReadError, nil},
		{"slow body", engine.Handler{Timeouts: engine.Timeouts{BodyTimeout: 20 * time.Millisecond}}, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc",
			nil, 408, pagi.ReasonClientTimeout, []string{"level=WARN", "--body-timeout", "path=/"}},
		{"body found too large", engine.Handler{Limits: engine.Limits{MaxBodySize: 4}}, "POST /big HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
			nil, 413, pagi.ReasonBodyTooLarge, []string{"--max-body-size", "path=/big"}},
		{"broken chunks", engine.Handler{}, "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
			nil, 400, pagi.ReasonProtocolError, []string{"level=WARN", "request is refused", "framing"}},
		{"request stalls", engine.Handler{Timeouts: engine.Timeouts{RequestTimeout: 30 * time.Millisecond}}, "GET /s HTTP/1.1\r\nHost: x\r\n\r\n",
			nil, 504, "x-request-timeout", []string{"--request-timeout", "path=/s"}},
		{"request stalls for its body", engine.Handler{Timeouts: engine.Timeouts{RequestTimeout: 30 * time.Millisecond}}, "POST /s HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n",
			nil, 408, pagi.ReasonClientTimeout, []string{"--request-timeout", "path=/s"}},
		{"request takes too long", engine.Handler{Timeouts: engine.Timeouts{MaxRequestTime: 30 * time.Millisecond}}, "GET /s HTTP/1.1\r\nHost: x\r\n\r\n",
			nil, 504, "x-request-time", []string{"--max-request-time", "path=/s"}},
		{"request takes too long for its body", engine.Handler{Timeouts: engine.Timeouts{MaxRequestTime: 30 * time.Millisecond}}, "POST /s HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n",
			nil, 408, pagi.ReasonClientTimeout, []string{"--max-request-time", "path=/s"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			running, seen := make(chan struct{}), make(chan outcome, 1)
			x := serve(t, tt.options, func(c *call) error {
				o, err := observe(c, func() { close(running) })
				seen <- o
				return err
			})
			c := x.request(tt.request)
			testkit.Await(t, running)
			await := testkit.Await[outcome]
			if tt.then != nil {
				tt.then(c)
				await = testkit.AtOnce
			} else {
				res, _ := c.Response("POST")
				if res.StatusCode != tt.status || !res.Close {
					t.Errorf("response %v", res)
				}
				c.Closed()
			}
			o := await(t, seen)
			var cause *pagi.DisconnectError
			if !errors.As(o.cause, &cause) || cause.Reason != o.reason || o.reason != tt.reasons {
				t.Errorf("reason %q, cause %v, want %q", o.reason, o.cause, tt.reasons)
			}
			if diff := cmp.Diff([]string{"callback " + tt.reasons, "event"}, o.order); diff != "" {
				t.Error(diff)
			}
			rec := x.record()
			if rec.Status != tt.status || rec.Reason != tt.reasons || rec.Err != nil {
				t.Errorf("record %+v", rec)
			}
			if tt.log != nil {
				x.log.WaitFor(t, tt.log...)
			} else if x.log.String() != "" {
				t.Errorf("logged %s", x.log)
			}
		})
	}
}

func TestServerCancellationGivesItsReason(t *testing.T) {
	base, cancel := context.WithCancelCause(t.Context())
	running, seen := make(chan struct{}), make(chan outcome, 1)
	x := start(t, engine.Handler{}, func(c *call) error {
		o, err := observe(c, func() { close(running) })
		seen <- o
		return err
	}, func(s *httptest.Server) {
		s.Config.BaseContext = func(net.Listener) context.Context { return base }
		s.Start()
	})
	x.request("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	testkit.Await(t, running)
	cancel(&pagi.DisconnectError{Reason: pagi.ReasonServerShutdown})
	if o := testkit.Await(t, seen); o.reason != pagi.ReasonServerShutdown {
		t.Errorf("reason %q", o.reason)
	}
}
