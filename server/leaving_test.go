package server

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/request"
)

// ways are the ways in which a client may leave.
var ways = []struct {
	name  string
	leave func(*net.TCPConn) error
}{
	{"half-closes", (*net.TCPConn).CloseWrite},
	{"closes", (*net.TCPConn).Close},
	{"resets", func(c *net.TCPConn) error { return errors.Join(c.SetLinger(0), c.Close()) }},
}

// An application that has not read a short body also learns at once that its client has left: after
// a reset always, after an orderly end once its response has begun.
func TestClientLeavesWithItsBodyUnread(t *testing.T) {
	for _, accept := range []string{"*/*", "text/event-stream"} {
		for _, way := range ways {
			if accept == "*/*" && way.name != "resets" {
				continue
			}
			for _, early := range []bool{false, true} { // before sse.start
				t.Run(accept+" "+way.name+map[bool]string{true: " early"}[early], func(t *testing.T) {
					begun, left, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
					x := launch(t, &Server{Lifespan: LifespanOff, App: pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
						if early {
							_ = ctx.Done() // begins to watch
							close(begun)
							<-left
							time.Sleep(10 * time.Millisecond)
						}
						if scope.Type == pagi.TypeSSE {
							if err := send(ctx, pagi.SSEStart{}); err != nil {
								return err
							}
						}
						if !early {
							close(begun)
						}
						<-ctx.Done()
						ended <- context.Cause(ctx)
						return nil
					})})
					c := x.request("POST / HTTP/1.1\r\nHost: x\r\nAccept: " + accept + "\r\nContent-Length: 3\r\n\r\nabc")
					testkit.Await(t, begun)
					if err := way.leave(c.Conn.(*net.TCPConn)); err != nil {
						t.Fatal(err)
					}
					close(left)
					select {
					case err := <-ended:
						var gone *pagi.DisconnectError
						if !errors.As(err, &gone) || gone.Reason != pagi.ReasonClientClosed {
							t.Errorf("it ended with %v", err)
						}
					case <-time.After(time.Second):
						t.Error("not noticed within a second")
					}
				})
			}
		}
	}
}

// A client that has sent its whole short body and leaves does not lose the body, even if the
// application waits for the client's end. The application learns of that end once it has the body.
func TestAShortBodyOutlivesItsClient(t *testing.T) {
	for _, way := range ways[:2] {
		for _, own := range []bool{false, true} { // whether the context of Receive is one of the application's
			t.Run(way.name+map[bool]string{true: ", with a context of its own"}[own], func(t *testing.T) {
				begun, bodies, ended := make(chan struct{}), make(chan string, 1), make(chan error, 1)
				x := launch(t, &Server{App: httpOnly(func(ctx context.Context, _ *pagi.Scope, receive pagi.Receive, _ pagi.Send) error {
					limited, cancel := context.WithTimeout(ctx, time.Minute)
					defer cancel()
					close(begun)
					time.Sleep(50 * time.Millisecond)
					receiving := ctx
					if own {
						receiving = limited
					}
					body, err := io.ReadAll(request.BodyReader(receiving, receive))
					if err != nil {
						t.Error(err)
					}
					bodies <- string(body)
					select {
					case <-limited.Done():
					case <-time.After(testkit.Patience):
					}
					ended <- context.Cause(limited)
					return nil
				})})
				c := x.request("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello")
				testkit.Await(t, begun)
				if err := way.leave(c.Conn.(*net.TCPConn)); err != nil {
					t.Fatal(err)
				}
				if body := testkit.Await(t, bodies); body != "hello" {
					t.Errorf("body %q", body)
				}
				var gone *pagi.DisconnectError
				if err := testkit.Await(t, ended); !errors.As(err, &gone) || gone.Reason != pagi.ReasonClientClosed {
					t.Errorf("it ended with %v", err)
				}
			})
		}
	}
}
