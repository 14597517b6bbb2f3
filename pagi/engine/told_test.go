package engine_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// brokenListener gives connections on which nothing can be written once broken is closed.
type brokenListener struct {
	net.Listener
	broken chan struct{}
}

type brokenConn struct {
	net.Conn
	broken chan struct{}
}

func (l brokenListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return brokenConn{c, l.broken}, err
}

func (c brokenConn) Write(p []byte) (int, error) {
	select {
	case <-c.broken:
		return 0, &net.OpError{Op: "write", Net: "tcp", Err: syscall.EPIPE}
	default:
		return c.Conn.Write(p)
	}
}

// A write that fails while the client is there is no client_closed.
func TestAWriteThatFails(t *testing.T) {
	for _, queued := range []bool{false, true} {
		t.Run(fmt.Sprintf("queued %v", queued), func(t *testing.T) {
			broken := make(chan struct{})
			x := start(t, engine.Handler{}, func(c *call) error {
				if queued {
					c.scope.Transport.BufferedAmount()
				}
				err := errors.Join(c.start(200), c.more("x"))
				<-broken
				for c.scope.Connection.IsConnected() {
					err = errors.Join(err, c.more("x"))
				}
				return err
			}, func(s *httptest.Server) {
				s.Listener = brokenListener{s.Listener, broken}
				s.Start()
			})
			c := x.request(get)
			if _, err := c.Reader.ReadByte(); err != nil {
				t.Fatal(err)
			}
			close(broken)
			if rec := x.record(); rec.Reason != pagi.ReasonWriteError || rec.Err != nil {
				t.Errorf("record %+v", rec)
			}
			if x.log.String() != "" {
				t.Errorf("logged %s", x.log)
			}
		})
	}
}

// What an application returns because its client has left is no failure of its own.
func TestReturningTheDisconnect(t *testing.T) {
	for name, begin := range map[string]func(c *call) error{
		"before the response": func(*call) error { return nil },
		"in its head":         func(c *call) error { return c.start(200) },
		"in the response":     func(c *call) error { return errors.Join(c.start(200), c.more("x")) },
	} {
		t.Run(name, func(t *testing.T) {
			onAll(t, func(t *testing.T, serve func(engine.Handler, func(*call) error) *fixture) {
				running := make(chan struct{})
				x := serve(engine.Handler{}, func(c *call) error {
					if err := begin(c); err != nil {
						return err
					}
					close(running)
					<-c.ctx.Done()
					return fmt.Errorf("working: %w", context.Cause(c.ctx))
				})
				ctx, cancel := context.WithCancel(t.Context())
				go func() {
					if res, err := x.client().Do(testkit.NewRequest(t, "GET", x.url, nil).WithContext(ctx)); err == nil {
						<-ctx.Done()
						res.Body.Close()
					}
				}()
				testkit.Await(t, running)
				cancel()
				var gone *pagi.DisconnectError
				if rec := x.record(); rec.Reason != pagi.ReasonClientClosed || !errors.As(rec.Err, &gone) {
					t.Errorf("record %+v", rec)
				}
				if x.log.String() != "" {
					t.Errorf("logged %s", x.log)
				}
			})
		})
	}
}

func TestInterimResponsesArrive(t *testing.T) {
	onAll(t, func(t *testing.T, serve func(engine.Handler, func(*call) error) *fixture) {
		x := serve(engine.Handler{}, func(c *call) error {
			return errors.Join(
				c.send(c.ctx, pagi.HTTPResponseInformational{Status: 103, Headers: pagi.NewHeaders("link", "</a.css>")}),
				c.send(c.ctx, pagi.HTTPResponseInformational{Status: 102}),
				c.reply("x"))
		})
		var got []string
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(status int, h textproto.MIMEHeader) error {
			got = append(got, fmt.Sprint(status, " ", h.Get("Link")))
			return nil
		}})
		res, body := testkit.Do(t, x.client(), testkit.NewRequest(t, "GET", x.url, nil).WithContext(ctx))
		if diff := cmp.Diff([]string{"103 </a.css>", "102 "}, got); diff != "" || body != "x" || res.StatusCode != http.StatusOK || res.Header.Get("Link") != "" {
			t.Errorf("%s, then %v %q", diff, res, body)
		}
	})
}

func TestFullFlushSendsTheHead(t *testing.T) {
	onAll(t, func(t *testing.T, serve func(engine.Handler, func(*call) error) *fixture) {
		seen := make(chan struct{})
		x := serve(engine.Handler{}, func(c *call) error {
			err := errors.Join(c.start(200), c.send(c.ctx, pagi.HTTPFullFlush{}))
			if !await(seen) {
				t.Error("the client has no head")
			}
			return errors.Join(err, c.body(""))
		})
		res, err := x.client().Get(x.url)
		if err != nil {
			t.Fatal(err)
		}
		close(seen)
		res.Body.Close()
		x.record()
	})
}
