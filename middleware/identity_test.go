package middleware_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

// whoami answers in every scope with the identity it finds: "basic ann", or "nobody".
var whoami = pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
	who := "nobody"
	if auth, ok := scope.Auth(); ok {
		who = strings.TrimSpace(auth.Type + " " + auth.Username)
	}
	if claims, ok := scope.Value(scopekey.AuthClaims).(map[string]any); ok && claims != nil {
		who += fmt.Sprint(" ", claims["sub"])
	}
	var events []pagi.Event
	switch scope.Type {
	case pagi.TypeSSE:
		events = []pagi.Event{pagi.SSEStart{}, pagi.SSESend{Data: who}}
	case pagi.TypeWebSocket:
		events = []pagi.Event{pagi.WebSocketAccept{}, pagi.WebSocketSend{Text: who}, pagi.WebSocketClose{}}
	case pagi.TypeHTTP:
		events = []pagi.Event{pagi.HTTPResponseStart{Status: 200}, pagi.HTTPResponseBody{Body: []byte(who)}}
	default:
		return pagi.Unsupported(scope)
	}
	return answering(events...).Serve(ctx, scope, nil, send)
})

// askAll sends a request of each scope type, and returns what whoami answered or the status that
// refused.
func askAll(t *testing.T, app pagi.App, target string, opts ...pagitest.Option) map[string]string {
	t.Helper()
	c := pagitest.New(app)
	c.Extensions = map[string]any{pagi.ExtDenialResponse: struct{}{}}
	answers := map[string]string{}
	res := c.Get(target, opts...)
	answers[pagi.TypeHTTP] = res.Text()
	if res.Status != 200 {
		answers[pagi.TypeHTTP] = fmt.Sprint(res.Status)
	}
	stream := c.Events(target, opts...)
	if ev, ok := stream.Next(); ok {
		answers[pagi.TypeSSE] = ev.Data
		stream.Finish()
	} else {
		answers[pagi.TypeSSE] = fmt.Sprint(stream.Finish().Status)
	}
	ws := c.WebSocket(target, opts...)
	if ws.Accepted {
		text, err := ws.ReceiveText()
		if err != nil {
			t.Error(err)
		}
		answers[pagi.TypeWebSocket] = text
	} else {
		answers[pagi.TypeWebSocket] = fmt.Sprint(ws.Response.Status)
	}
	if err := ws.Finish(); err != nil {
		t.Errorf("%v", err)
	}
	return answers
}

// everywhere is what askAll returns if all scopes are answered alike.
func everywhere(answer string) map[string]string {
	return map[string]string{pagi.TypeHTTP: answer, pagi.TypeSSE: answer, pagi.TypeWebSocket: answer}
}

// outer is a middleware that has authenticated somebody already.
func outer(app pagi.App) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		scope = scope.With(pagi.AuthKey, pagi.Auth{Type: "outer", Username: "olga"}).With(scopekey.AuthClaims, map[string]any{"sub": "olga"})
		return app.Serve(ctx, scope, receive, send)
	})
}

// A request for a path that is not protected costs no allocation.
func TestOpenPathsCostNothing(t *testing.T) {
	next := pagi.AppFunc(func(context.Context, *pagi.Scope, pagi.Receive, pagi.Send) error { return nil })
	paths := []string{"/admin", "/api/"}
	scope := &pagi.Scope{Type: pagi.TypeHTTP, Method: "GET", Path: "/menu/today", Headers: pagi.NewHeaders("host", "h", "cookie", "a=b", "accept", "text/html")}
	for name, m := range map[string]pagi.Middleware{
		"basic_auth":   middleware.BasicAuth{Paths: paths, Users: schemes},
		"bearer_auth":  middleware.BearerAuth{Paths: paths, Secrets: []string{tokenSecret}},
		"auth_forward": middleware.AuthForward{Paths: paths, URL: "http://127.0.0.1:1/", ResponseHeaders: []string{"Remote-Groups"}},
		"auth_oidc":    middleware.AuthOIDC{Paths: paths, Issuer: "http://127.0.0.1:1", ClientID: "x", Secrets: []string{tokenSecret}, LogoutPath: "/logout"},
	} {
		app := m.Wrap(next)
		if n := testing.AllocsPerRun(100, func() { _ = app.Serve(t.Context(), scope, nil, nil) }); n > 0 { // never fails
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
