package middleware_test

import (
	"context"
	"io"
	"testing"

	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/request"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

// bodySeen is what an application below a middleware finds.
type bodySeen struct {
	called, sse  bool
	parsed       any
	raw          []byte
	method       string
	original     any
	body, direct string // received, and read by package request
}

// lookAtBody returns an application that notes what it finds.
func lookAtBody(found *bodySeen) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, w pagi.Send) error {
		raw, _ := s.Value(scopekey.RawBody).([]byte)
		*found = bodySeen{called: true, sse: s.Type == pagi.TypeSSE, parsed: s.Value(scopekey.ParsedBody), raw: raw, method: s.Method, original: s.Value(scopekey.OriginalMethod)}
		if s.Type == pagi.TypeWebSocket {
			return answering(pagi.WebSocketAccept{}).Serve(ctx, s, r, w)
		}
		body, err := io.ReadAll(request.BodyReader(ctx, r))
		if err != nil {
			return err
		}
		found.body = string(body)
		if direct, err := request.New(ctx, s, r).Bytes(); err == nil {
			found.direct = string(direct)
		}
		if s.Type == pagi.TypeSSE {
			return answering(pagi.SSEHTTPResponseStart{Status: 200}, pagi.SSEHTTPResponseBody{Body: []byte("ok")}).Serve(ctx, s, r, w)
		}
		return respond(200, "ok").Serve(ctx, s, r, w)
	})
}

func contentType(t string) pagitest.Option { return pagitest.Header("content-type", t) }

func TestBodiesInOtherScopes(t *testing.T) {
	for _, c := range []struct {
		m    pagi.Middleware
		opts []pagitest.Option
		raw  string
	}{
		{middleware.JSONBody{}, []pagitest.Option{pagitest.JSON(7)}, "7"},
		{middleware.FormBody{}, []pagitest.Option{pagitest.Form("a", "b")}, "a=b"},
	} {
		var found bodySeen
		client := pagitest.New(c.m.Wrap(lookAtBody(&found)))
		res := client.Post("/", append(c.opts, pagitest.AcceptEvents())...)
		if res.Err != nil || !found.sse || string(found.raw) != c.raw || found.body != c.raw {
			t.Errorf("%T, sse: %d %v %q %q", c.m, res.Status, res.Err, found.raw, found.body)
		}
		ws := client.WebSocket("/", contentType("application/json"))
		if !ws.Accepted || found.raw != nil {
			t.Errorf("%T: a WebSocket is touched", c.m)
		}
		ws.Finish()
	}
}

func TestBodiesOfClientsThatLeave(t *testing.T) {
	for _, m := range []pagi.Middleware{middleware.JSONBody{}, middleware.FormBody{}, middleware.MethodOverride{Form: true}} {
		for _, kind := range []string{"application/json", "application/x-www-form-urlencoded"} {
			var found bodySeen
			x := pagitest.New(m.Wrap(lookAtBody(&found))).Begin("POST", "/", contentType(kind), pagitest.Stream())
			if err := x.Write("[1"); err != nil {
				t.Error(err)
			}
			x.Disconnect(pagi.ReasonClientClosed)
			x.Finish()
			if found.body != "" || found.raw != nil {
				t.Errorf("%T: half a body reaches the application: %+v", m, found)
			}
		}
	}
}
