package pagi_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
)

func TestScopeValuesTravelDownwardOnly(t *testing.T) {
	outer := &pagi.Scope{Type: pagi.TypeHTTP, Path: "/"}
	one := outer.With("app.user", "ann")
	two := one.With("app.user", "bob").With("app.role", "admin")
	sibling := one.With("app.role", "guest")

	if outer.Value("app.user") != nil || one.Value("app.role") != nil {
		t.Error("a value travelled upward")
	}
	if one.Value("app.user") != "ann" || two.Value("app.user") != "bob" {
		t.Errorf("got %v and %v", one.Value("app.user"), two.Value("app.user"))
	}
	if two.Value("app.role") != "admin" || sibling.Value("app.role") != "guest" {
		t.Error("siblings share a value")
	}
	clone := two.Clone()
	clone.Path = "/changed"
	if two.Path != "/" || clone.Value("app.role") != "admin" {
		t.Error("Clone shares its fields or lost a value")
	}
	clone.SetValue("app.role", "owner")
	if clone.Value("app.role") != "owner" || two.Value("app.role") != "admin" {
		t.Error("SetValue sets nothing, or also in the original")
	}
}

func TestScopeMount(t *testing.T) {
	for _, c := range []struct{ path, root, prefix, wantPath, wantRoot string }{
		{"/app/page", "", "/app", "/page", "/app"},
		{"/app", "", "/app", "", "/app"},
		{"/app/", "", "/app", "/", "/app"},
		{"/b/c", "/a", "/b", "/c", "/a/b"},
		{"/x", "/a", "", "/x", "/a"},
	} {
		s := &pagi.Scope{Path: c.path, RootPath: c.root, RawPath: "/raw"}
		m := s.Mount(c.prefix)
		if m.Path != c.wantPath || m.RootPath != c.wantRoot || m.RawPath != "/raw" {
			t.Errorf("Mount(%q) of %q under %q: path %q, root %q", c.prefix, c.path, c.root, m.Path, m.RootPath)
		}
		if s.Path != c.path || s.RootPath != c.root {
			t.Error("Mount changed the original")
		}
	}
}

func TestScopeExtensions(t *testing.T) {
	tls := &pagi.TLS{Version: 0x0304}
	s := &pagi.Scope{Extensions: map[string]any{pagi.ExtTLS: tls, pagi.ExtFullFlush: struct{}{}}}
	if !s.HasExtension(pagi.ExtFullFlush) || s.HasExtension(pagi.ExtDenialResponse) {
		t.Error("HasExtension is wrong")
	}
	if s.TLS() != tls {
		t.Error("TLS does not return the extension's value")
	}
	if (&pagi.Scope{}).TLS() != nil {
		t.Error("TLS on a plain connection is not nil")
	}
}

func TestAddrIsZero(t *testing.T) {
	if !(pagi.Addr{}).IsZero() || (pagi.Addr{Host: "/run/x.sock"}).IsZero() {
		t.Error("IsZero is wrong")
	}
}

func TestChainPutsTheFirstOutermost(t *testing.T) {
	var order []string
	mark := func(name string) pagi.Middleware {
		return pagi.MiddlewareFunc(func(next pagi.App) pagi.App {
			return pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, r pagi.Receive, w pagi.Send) error {
				order = append(order, name)
				return next.Serve(ctx, s, r, w)
			})
		})
	}
	app := pagi.AppFunc(func(context.Context, *pagi.Scope, pagi.Receive, pagi.Send) error {
		order = append(order, "app")
		return nil
	})
	if err := pagi.Chain(app, mark("one"), mark("two")).Serve(t.Context(), &pagi.Scope{}, nil, nil); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(order, " "); got != "one two app" {
		t.Errorf("order: %s", got)
	}
}

func TestErrorsSayWhatAndWhere(t *testing.T) {
	cause := errors.New("the cause")
	for _, c := range []struct {
		err  error
		want string
	}{
		{pagi.Unsupported(&pagi.Scope{Type: "sse"}), `unsupported scope type: "sse"`},
		{&pagi.EventError{Type: "http.response.start", Field: "status", Problem: "must be 200 to 999, is 9"}, "http.response.start: 'status' must be 200 to 999, is 9"},
		{&pagi.EventError{Type: "sse.close", Problem: "came twice"}, "sse.close: came twice"},
		{&pagi.DisconnectError{Reason: pagi.ReasonWriteTimeout}, "disconnected: write_timeout"},
		{&pagi.StatusError{Status: 503, Message: "busy"}, "503: busy"},
		{&pagi.StatusError{Status: 503, Message: "busy", Err: cause}, "503: the cause"},
		{&pagi.PanicError{Value: "boom"}, "panic: boom"},
		{pagi.BadOption("root", "no such directory: %w", cause), "root: no such directory: the cause"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	for _, err := range []error{&pagi.StatusError{Err: cause}, &pagi.PanicError{Value: cause}, pagi.BadOption("o", "%w", cause)} {
		if !errors.Is(err, cause) {
			t.Errorf("%T does not unwrap", err)
		}
	}
	if errors.Unwrap(&pagi.PanicError{Value: "text"}) != nil {
		t.Error("a panic with a string unwraps to something")
	}
	if !errors.Is(pagi.Unsupported(&pagi.Scope{}), pagi.ErrUnsupported) {
		t.Error("Unsupported does not wrap ErrUnsupported")
	}
}

type picky struct{ err error }

func (p picky) Check() error { return p.err }

func TestCheck(t *testing.T) {
	bad := pagi.BadOption("root", "is missing")
	if pagi.Check(picky{bad}) != bad || pagi.Check(picky{}) != nil || pagi.Check("no Checker") != nil {
		t.Error("Check is wrong")
	}
}

func TestScopeSaysWhoIsAuthenticated(t *testing.T) {
	scope := &pagi.Scope{}
	if auth, ok := scope.Auth(); ok {
		t.Errorf("nobody: %+v", auth)
	}
	inner := scope.With(pagi.AuthKey, pagi.Auth{Type: "basic", Username: "zoë"})
	if auth, ok := inner.Auth(); !ok || auth != (pagi.Auth{Type: "basic", Username: "zoë"}) {
		t.Errorf("%+v, %v", auth, ok)
	}
	if _, ok := scope.Auth(); ok {
		t.Error("the outer scope has it too")
	}
}
