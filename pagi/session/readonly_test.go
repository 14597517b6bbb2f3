package session_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/session"
)

// withStreams adds to pages a WebSocket and an event stream at /live, which call see.
func withStreams(app pages, see func(s *session.Session)) pagi.App {
	return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Type == pagi.TypeHTTP || scope.Type == pagi.TypeLifespan {
			return app.Serve(ctx, scope, receive, send)
		}
		s, ok := session.FromScope(scope)
		if !ok {
			return errors.New("no session in the scope")
		}
		see(s)
		switch {
		case scope.Path == "/declined" && scope.Type == pagi.TypeSSE:
			return errors.Join(send(ctx, pagi.SSEHTTPResponseStart{Status: 404}), send(ctx, pagi.SSEHTTPResponseBody{}))
		case scope.Path == "/declined":
			return errors.Join(send(ctx, pagi.WebSocketHTTPResponseStart{Status: 404}), send(ctx, pagi.WebSocketHTTPResponseBody{}))
		case scope.Type == pagi.TypeSSE:
			return errors.Join(send(ctx, pagi.SSEStart{}), send(ctx, pagi.SSESend{Data: "x"}), send(ctx, pagi.SSEClose{}))
		}
		if _, err := receive(ctx); err != nil {
			return err
		}
		return errors.Join(send(ctx, pagi.WebSocketAccept{}), send(ctx, pagi.WebSocketClose{}))
	})
}

// live opens an event stream or a WebSocket and returns the headers that began the answer.
func live(t *testing.T, client *pagitest.Client, protocol, path string) pagi.Headers {
	t.Helper()
	if protocol == "sse" {
		res := client.Events(path).Finish()
		if res.Err != nil {
			t.Error(res.Err)
		}
		return res.Headers
	}
	ws := client.WebSocket(path)
	if err := ws.Finish(); err != nil {
		t.Error(err)
	}
	if ws.Response != nil {
		return ws.Response.Headers
	}
	return ws.Headers
}

func TestSessionsOfStreamsAreReadOnly(t *testing.T) {
	for _, protocol := range []string{"sse", "websocket"} {
		for _, c := range []struct {
			name   string
			cookie func(f *fixture) string
			user   string
		}{
			{"with a session", func(f *fixture) string { return f.Cookie("pagi_session") }, "ann"},
			{"without a session", func(*fixture) string { return "" }, "nobody"},
			{"with an unknown id", func(*fixture) string { return strings.Repeat("a", 32) }, "nobody"},
			{"with garbage", func(*fixture) string { return "garbage" }, "nobody"},
			{"with an expired session", func(f *fixture) string { f.clock.Advance(2 * time.Hour); return f.Cookie("pagi_session") }, "nobody"},
		} {
			t.Run(protocol+" "+c.name, func(t *testing.T) {
				f := newFixture(basics())
				f.App = f.manager.Wrap(withStreams(basics(), func(s *session.Session) {
					if got := s.GetOr("user", "nobody"); got != c.user {
						t.Errorf("user %q, want %q", got, c.user)
					}
					if (s.ID() == "") != (c.user == "nobody") || s.IsNew() != (c.user == "nobody") {
						t.Errorf("id %q, new %v", s.ID(), s.IsNew())
					}
					_, taken := session.TakeFlash[string](s, "x")
					for name, err := range map[string]error{
						"set": s.Set("user", "eve"), "flash": s.Flash("x", 1), "take": taken, "delete": s.Delete("user"),
						"clear": s.Clear(), "regenerate": s.Regenerate(), "destroy": s.Destroy(),
					} {
						if !errors.Is(err, session.ErrReadOnly) {
							t.Errorf("%s: %v", name, err)
						}
					}
				}))
				f.get(t, "/login")
				cookie := c.cookie(f)
				f.store.calls()
				client := pagitest.New(f.App)
				client.Extensions = map[string]any{pagi.ExtDenialResponse: struct{}{}}
				if cookie != "" {
					client.SetCookie("pagi_session", cookie)
				}
				for _, path := range []string{"/live", "/declined"} {
					if headers := live(t, client, protocol, path); headers.Has("set-cookie") {
						t.Errorf("%s: headers %v", path, headers)
					}
				}
				if got := f.store.calls(); got[1]+got[2]+got[3] != 0 {
					t.Errorf("the store was written: %v", got)
				}
			})
		}
	}
}

func TestAStreamCountsAsAUse(t *testing.T) {
	for _, protocol := range []string{"sse", "websocket"} {
		f := newFixture(basics())
		f.App = f.manager.Wrap(withStreams(basics(), func(s *session.Session) { _ = s.Load() }))
		f.get(t, "/login")
		for range 3 {
			f.clock.Advance(40 * time.Minute)
			live(t, f.Client, protocol, "/live")
		}
		f.clock.Advance(40 * time.Minute)
		if got := f.get(t, "/user"); got != "ann" {
			t.Errorf("%s: user %q", protocol, got)
		}
	}
}

// With a CookieStore the use is noted in the client's token.
func TestAStreamSlidesTheTimeOfACookie(t *testing.T) {
	for _, protocol := range []string{"sse", "websocket"} {
		for _, path := range []string{"/live", "/declined"} {
			f := newFixture(basics(), func(m *session.Manager) {
				m.Store = &session.CookieStore{Keys: []session.Key{{ID: "k", Secret: make([]byte, 32)}}}
			})
			f.App = f.manager.Wrap(withStreams(basics(), func(s *session.Session) { _ = s.Load() }))
			f.Extensions = map[string]any{pagi.ExtDenialResponse: struct{}{}}
			f.get(t, "/login")
			f.clock.Advance(40 * time.Minute)
			headers := live(t, f.Client, protocol, path)
			cookie := headers.Get("set-cookie")
			if !strings.HasPrefix(cookie, "pagi_session=e1.k.") {
				t.Fatalf("%s %s: headers %v", protocol, path, headers)
			}
			f.clock.Advance(40 * time.Minute)
			token, _, _ := strings.Cut(strings.TrimPrefix(cookie, "pagi_session="), ";")
			f.ClearCookies()
			f.SetCookie("pagi_session", token)
			if got := f.get(t, "/user"); got != "ann" {
				t.Errorf("%s %s: user %q", protocol, path, got)
			}
		}
	}
}
