package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// listen asks for an event stream.
func listen(t *testing.T, client *http.Client, url string) *http.Response {
	t.Helper()
	req := testkit.NewRequest(t, http.MethodGet, url, nil)
	req.Header.Set("Accept", "text/event-stream")
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// A stop does not wait for event streams. It ends them in a way that their clients notice.
func TestStopEndsEventStreams(t *testing.T) {
	onVersions(t, func(t *testing.T, start func(*Server) (*site, string, *http.Client)) {
		reasons := make(chan string, 1)
		s := &Server{Timeouts: Timeouts{ShutdownTimeout: time.Minute}}
		s.App = pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
			if scope.Type != pagi.TypeSSE {
				return pagi.Unsupported(scope)
			}
			if err := send(ctx, pagi.SSEStart{}); err != nil {
				return err
			}
			for {
				ev, err := receive(context.WithoutCancel(ctx))
				if gone, is := ev.(pagi.SSEDisconnect); is || err != nil {
					reasons <- gone.Reason
					return err
				}
			}
		})
		x, url, client := start(s)
		res := listen(t, client, url)
		defer res.Body.Close()
		if err := x.stop(); err != nil {
			t.Error(err)
		}
		if body, err := io.ReadAll(res.Body); err != nil || len(body) > 0 {
			t.Errorf("the client reads %q, %v", body, err)
		}
		if r := testkit.Await(t, reasons); r != pagi.ReasonServerShutdown {
			t.Errorf("reason %q", r)
		}
	})
}

// A stop waits for an application that goes on after its sse.close, or after a response, and cuts
// it in the end. It does so whether or not the client is still there.
func TestStopCutsWhatFollowsSSEClose(t *testing.T) {
	get := func(t *testing.T, client *http.Client, url string) *http.Response {
		t.Helper()
		res, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	t.Run("a stream", func(t *testing.T) { stopCuts(t, listen, false) })
	t.Run("a response", func(t *testing.T) { stopCuts(t, get, false) })
	t.Run("a stream whose client has left", func(t *testing.T) { stopCuts(t, listen, true) })
	t.Run("a response whose client has left", func(t *testing.T) { stopCuts(t, get, true) })
}

func stopCuts(t *testing.T, ask func(t *testing.T, client *http.Client, url string) *http.Response, leave bool) {
	t.Helper()
	onVersions(t, func(t *testing.T, start func(*Server) (*site, string, *http.Client)) {
		causes := make(chan error, 1)
		s := &Server{Timeouts: Timeouts{ShutdownTimeout: 100 * time.Millisecond}}
		s.App = pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
			var err error
			switch scope.Type {
			case pagi.TypeSSE:
				err = errors.Join(send(ctx, pagi.SSEStart{}), send(ctx, pagi.SSEClose{}))
			case pagi.TypeHTTP:
				err = reply(ctx, send, "x")
			default:
				return pagi.Unsupported(scope)
			}
			select {
			case <-ctx.Done():
			case <-time.After(testkit.Patience):
			}
			causes <- context.Cause(ctx)
			return err
		})
		x, url, client := start(s)
		res := ask(t, client, url)
		if _, err := io.ReadAll(res.Body); err != nil {
			t.Error(err)
		}
		res.Body.Close()
		if leave {
			client.CloseIdleConnections()
			if res.ProtoMajor > 1 { // the connection of HTTP/1 is open as long as its handler runs
				testkit.Eventually(t, "the client's leaving", func() bool { return x.connections() == 0 })
			}
		}
		if err := x.stop(); err != nil {
			t.Error(err)
		}
		select {
		case err := <-causes:
			var gone *pagi.DisconnectError
			if !errors.As(err, &gone) || gone.Reason != pagi.ReasonServerShutdown {
				t.Errorf("the context ended with %v", err)
			}
		default:
			t.Error("the server has stopped under it")
		}
	})
}
