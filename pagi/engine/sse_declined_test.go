package engine_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// An application that knows nothing of event streams answers a client that would also
// take one like any other client: with a file, an interim response, and on a connection
// that stays.
func TestAnApplicationThatDeclinesAnSSEScopeGetsAnHTTPScope(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	x := serve(t, engine.Handler{}, func(c *call) error {
		if c.scope.Type != pagi.TypeHTTP {
			return pagi.Unsupported(c.scope)
		}
		if c.scope.Connection == nil || !c.scope.HasExtension(pagi.ExtInformational) {
			t.Errorf("%+v", c.scope)
		}
		ev, err := c.receive(c.ctx)
		if body, is := ev.(pagi.HTTPRequest); err != nil || !is || string(body.Body) != "{}" {
			t.Errorf("%v, %v", ev, err)
		}
		if err := c.send(c.ctx, pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-length", "7")}); err != nil {
			return err
		}
		return c.send(c.ctx, pagi.HTTPResponseBody{File: name, Length: pagi.ToEnd})
	})
	const post = "POST / HTTP/1.1\r\nHost: x\r\nAccept: application/json, text/event-stream\r\nContent-Length: 2\r\n"
	answers := x.request(post + "\r\n{}" + post + "Connection: close\r\n\r\n{}").Rest()
	if strings.Count(answers, "\r\n\r\ncontent") != 2 || strings.Count(answers, "Connection: close") != 1 {
		t.Errorf("%s", answers)
	}
}

func TestAnApplicationMayDeclineAnSSEScopeAfterItHasReceivedAnEmptyBody(t *testing.T) {
	x := serve(t, engine.Handler{}, func(c *call) error {
		ev, err := c.receive(c.ctx)
		if c.scope.Type != pagi.TypeHTTP {
			return pagi.Unsupported(c.scope)
		}
		if body, is := ev.(pagi.HTTPRequest); err != nil || !is || len(body.Body) > 0 || body.More {
			t.Errorf("%v, %v", ev, err)
		}
		if err := c.start(200); err != nil {
			return err
		}
		return c.send(c.ctx, pagi.HTTPResponseBody{Body: []byte("content")})
	})
	for range 2 {
		res, body := x.request("GET / HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\n\r\n").Response("GET")
		if res.StatusCode != 200 || body != "content" {
			t.Errorf("%d %q", res.StatusCode, body)
		}
	}
}

func TestAnApplicationThatDeclinesAnSSEScopeTooLateFails(t *testing.T) {
	for name, late := range map[string]func(c *call) error{
		"after it has received": func(c *call) error {
			_, err := c.receive(c.ctx)
			return err
		},
		"after it has sent": func(c *call) error { return c.send(c.ctx, pagi.SSEHTTPResponseStart{Status: 200}) },
	} {
		calls := 0
		x := serve(t, engine.Handler{}, func(c *call) error {
			calls++
			if err := late(c); err != nil {
				t.Error(err)
			}
			return pagi.Unsupported(c.scope)
		})
		if answer := x.request("POST / HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nContent-Length: 2\r\n\r\n{}").Rest(); !strings.Contains(answer, " 500 ") || calls != 1 {
			t.Errorf("%s: %d calls, %s", name, calls, answer)
		}
	}
}

// Behind a response that was sent instead of an event stream the connection ends (PAGI::Spec::Www, "Decline SSE").
func TestAResponseInsteadOfAnEventStreamEndsTheConnection(t *testing.T) {
	x := serve(t, engine.Handler{}, func(c *call) error {
		if err := c.send(c.ctx, pagi.SSEHTTPResponseStart{Status: 404}); err != nil {
			return err
		}
		return c.send(c.ctx, pagi.SSEHTTPResponseBody{Body: []byte("no")})
	})
	if answers := x.request(getEvents + getEvents).Rest(); strings.Count(answers, " 404 ") != 1 || !strings.Contains(strings.ToLower(answers), "connection: close") {
		t.Errorf("%s", answers)
	}
}
