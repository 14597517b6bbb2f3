package server

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
)

func TestDevelopment(t *testing.T) {
	app := httpOnly(func(ctx context.Context, s *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		switch s.Path {
		case "/fails":
			return errors.New("no <database>")
		case "/panics":
			panic("out of range")
		case "/asks":
			return &pagi.StatusError{Status: 404, Message: "not here"}
		case "/upper":
			_ = send(ctx, pagi.HTTPResponseStart{Status: 200, Headers: pagi.Headers{{Name: "X-Up", Value: "1"}}})
			return nil
		case "/overlooks":
			_ = send(ctx, pagi.HTTPResponseBody{Body: []byte("too early")})
			return nil
		case "/changes":
			s.Path = "/other"
			return reply(ctx, send, "fine")
		case "/late":
			err := reply(ctx, send, "fine")
			_ = send(ctx, pagi.HTTPResponseBody{Body: []byte("too late")})
			return err
		}
		return reply(ctx, send, "fine")
	})
	for _, development := range []bool{true, false} {
		x := launch(t, &Server{App: app, Development: development})
		for path, want := range map[string]struct {
			status      int
			body, plain string // in development, and not
		}{
			"/":          {200, "fine", "fine"},
			"/fails?a=b": {500, "<h2>Request</h2>\n<pre>GET /fails?a=b</pre>", "Internal Server Error\n"},
			"/fails":     {500, "no &lt;database&gt;</pre>", "Internal Server Error\n"},
			"/panics":    {500, "<h2>Stack</h2>\n<pre>goroutine ", "Internal Server Error\n"},
			"/asks":      {404, "not here\n", "not here\n"},
			"/upper":     {500, "the application has overlooked that http.response.start: &#39;headers&#39; contains the name &#34;X-Up&#34;", ""},
			"/overlooks": {500, "must come first</pre>", "Internal Server Error\n"},
			"/late":      {200, "fine", "fine"},
			"/changes":   {200, "fine", "fine"},
		} {
			c := x.request("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n")
			res, body, err := c.Try("GET")
			if !development {
				if want.plain != "" && (res == nil || body != want.plain) {
					t.Errorf("%s: %q, %v", path, body, err)
				}
				continue
			}
			if err != nil || res.StatusCode != want.status || !strings.Contains(body, want.body) {
				t.Errorf("%s in development: %v %q", path, res, body)
			}
			if page := strings.Contains(body, "<!doctype html>"); page != (want.status == 500) || page && res.Header.Get("Content-Type") != "text/html; charset=utf-8" {
				t.Errorf("%s: a page: %v, %v", path, page, res.Header)
			}
		}
		if development {
			x.log.WaitFor(t, "level=ERROR", "application failed", "no <database>", "path=/fails")
			x.log.WaitFor(t, "level=ERROR", "stack=")
			x.log.WaitFor(t, "level=ERROR", "scope-changed", "path=/changes")
			x.log.WaitFor(t, "level=ERROR", "after its response was complete", "overlooked", "path=/late")
		}
	}
}
