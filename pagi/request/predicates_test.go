package request_test

import (
	"context"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/request"
)

func TestPredicates(t *testing.T) {
	for _, c := range []struct {
		contentType           string
		json, form, multipart bool
	}{
		{"application/json; charset=utf-8", true, false, false},
		{"Application/Problem+JSON", true, false, false},
		{"application/x-www-form-urlencoded", false, true, false},
		{"multipart/form-data; boundary=x", false, true, true},
		{"multipart/mixed; boundary=x", false, false, false},
		{"text/plain", false, false, false},
		{"", false, false, false},
	} {
		r := with(t, "content-type", c.contentType)
		if r.IsJSON() != c.json || r.IsForm() != c.form || r.IsMultipart() != c.multipart {
			t.Errorf("%q: %v, %v, %v", c.contentType, r.IsJSON(), r.IsForm(), r.IsMultipart())
		}
	}
	if !with(t, "x-requested-with", "xmlhttprequest").IsAJAX() || with(t).IsAJAX() {
		t.Error("IsAJAX")
	}
	for method, safe := range map[string]bool{"GET": true, "HEAD": true, "OPTIONS": true, "TRACE": true, "POST": false, "PUT": false, "DELETE": false, "": false} {
		if r := request.New(t.Context(), &pagi.Scope{Method: method}, nil); r.IsSafe() != safe {
			t.Errorf("IsSafe of %q", method)
		}
	}
	for scheme, secure := range map[string]bool{"http": false, "https": true, "ws": false, "wss": true} {
		if r := request.New(t.Context(), &pagi.Scope{Scheme: scheme}, nil); r.IsSecure() != secure {
			t.Errorf("IsSecure of %q", scheme)
		}
	}
}

func TestDisconnectIsSeenInEveryScope(t *testing.T) {
	for name, opts := range map[string][]pagitest.Option{"http": nil, "sse": {pagitest.AcceptEvents()}} {
		before, after := make(chan string, 1), make(chan string, 1)
		app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
			r := request.New(ctx, scope, receive)
			before <- r.DisconnectReason()
			<-ctx.Done()
			after <- r.DisconnectReason()
			return nil
		})
		e := pagitest.New(app).Begin("GET", "/", opts...)
		if got := <-before; got != "" {
			t.Errorf("%s: %q before", name, got)
		}
		e.Disconnect(pagi.ReasonClientClosed)
		if got := <-after; got != pagi.ReasonClientClosed {
			t.Errorf("%s: %q after", name, got)
		}
		e.Finish()
	}
}

func TestTypedStateAndStash(t *testing.T) {
	r := request.New(t.Context(), &pagi.Scope{State: map[string]any{"n": 3}}, nil)
	if n, ok := request.State[int](r, "n"); n != 3 || !ok {
		t.Errorf("%d, %v", n, ok)
	}
	if _, ok := request.State[string](r, "n"); ok {
		t.Error("a value of another type")
	}
	r.Scope().Stash.Set("user", "ann")
	if user, ok := request.Stashed[string](request.New(t.Context(), r.Scope(), nil), "user"); user != "ann" || !ok {
		t.Errorf("%q, %v", user, ok)
	}
	if _, ok := request.Stashed[string](r, "nobody"); ok {
		t.Error("a value out of nothing")
	}
}

func TestContentType(t *testing.T) {
	for header, want := range map[string]string{
		"": "", "text/html": "text/html", "Text/HTML; Charset=UTF-8": "text/html charset=UTF-8",
		`multipart/form-data; boundary="a;b\"c"; x`: `multipart/form-data boundary=a;b"c`,
		"text/plain; charset=a; charset=b":          "text/plain charset=a",
		"text/plain; =x; charset = utf-8":           "text/plain charset=utf-8",
		"text":                                      "", "text/": "", "/html": "", "te xt/html": "", "text/html/x": "", ";charset=x": "",
	} {
		mediaType, params := with(t, "content-type", header).ContentType()
		got := mediaType
		for name, value := range params {
			got += " " + name + "=" + value
		}
		if got != want {
			t.Errorf("%q: %q, want %q", header, got, want)
		}
	}
}
