//go:build unix

package cgi

import (
	"context"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
)

func TestALocalRedirectIsFollowedHere(t *testing.T) {
	application := build(t, CGI{Concurrency: 1})
	for _, c := range []struct {
		method, target string
		status         int
		body, location string
	}{
		{"GET", "/cgi/method.cgi?a=b%26c", 200, "GET /cgi/method.cgi a=b%26c [][] ", ""},
		{"POST", "/cgi/method.cgi?x", 200, "GET /cgi/method.cgi x [][] ", ""},
		{"HEAD", "/cgi/method.cgi", 200, "", ""},
		{"GET", "/cgi/method.cgi#part", 200, "GET /cgi/method.cgi  [][] ", ""},
		{"GET", "/cgi/redirect.cgi?/cgi/hello.cgi", 200, "Hello from sh\n", ""},
		{"GET", "/cgi/none.cgi", 404, "Not Found\n", ""},
		{"GET", "/cgi/../hello.cgi", 404, "Not Found\n", ""},
		{"GET", "/elsewhere?x=y", 302, "Found\n", "/elsewhere?x=y"},
		{"GET", "/cgi-other/x", 302, "Found\n", "/cgi-other/x"},
		{"GET", "/cgi", 404, "Not Found\n", ""},
	} {
		req := ask{method: c.method, root: "/cgi", target: "/cgi/redirect.cgi?" + c.target}
		if c.method == "POST" {
			req.body, req.headers = "form=1", pagi.NewHeaders("content-type", "application/x-www-form-urlencoded")
		}
		res := do(t, application, req)
		if res.err != nil || res.status != c.status || res.body != c.body || res.headers.Get("location") != c.location {
			t.Errorf("%s to %s: %d %q %v, error %v", c.method, c.target, res.status, res.body, res.headers, res.err)
		}
	}
}

func TestALocalRedirectIsGivenToTheSite(t *testing.T) {
	var got *pagi.Scope
	var body string
	site := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		got = scope
		ev, err := receive(ctx)
		if err != nil {
			return err
		}
		body = string(ev.(pagi.HTTPRequest).Body)
		if err := send(ctx, pagi.HTTPResponseStart{Status: 200}); err != nil {
			return err
		}
		return send(ctx, pagi.HTTPResponseBody{Body: []byte("site")})
	})
	res := do(t, build(t, CGI{Redirect: site}), ask{method: "POST", root: "/cgi", target: "/cgi/redirect.cgi?/a%20b?c=d", body: "form=1"})
	if res.err != nil || res.body != "site" {
		t.Fatalf("%+v", res)
	}
	if got.Method != "GET" || got.RootPath != "" || got.Path != "/a b" || got.RawPath != "/a%20b" || got.QueryString != "c=d" || body != "" || got.Headers.Has("content-length") {
		t.Errorf("%+v, body %q", got, body)
	}
}

func TestLocalRedirectsInACircleEnd(t *testing.T) {
	script := build(t, CGI{Script: scripts + "/redirect.cgi"})
	res := do(t, script, ask{root: "/loop", target: "/loop?/loop?/loop"})
	if res.err == nil && res.status == 0 {
		t.Errorf("%+v", res)
	}
	var site pagi.App
	site = build(t, CGI{Redirect: pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		again := scope.Clone() // every path leads to the same script
		again.Path, again.RootPath, again.QueryString = "/redirect.cgi", "", "/loop"
		again.RawPath = ""
		return site.Serve(ctx, again, receive, send)
	})})
	res = do(t, site, ask{target: "/redirect.cgi?/loop"})
	if res.statusError() != 502 || res.status != 0 {
		t.Errorf("%+v", res)
	}
}

func TestTheTargetOfARedirectSeesNoBody(t *testing.T) {
	left := []pagi.Event{pagi.HTTPRequest{Body: []byte("rest"), More: true}, pagi.HTTPRequest{Body: []byte("end")}, pagi.HTTPDisconnect{}}
	receive := emptyBody(func(context.Context) (pagi.Event, error) {
		next := left[0]
		left = left[1:]
		return next, nil
	})
	first, err := receive(t.Context())
	if body, is := first.(pagi.HTTPRequest); err != nil || !is || len(body.Body) != 0 || body.More {
		t.Errorf("%#v, %v", first, err)
	}
	if second, err := receive(t.Context()); err != nil || second != (pagi.HTTPDisconnect{}) {
		t.Errorf("%#v, %v", second, err)
	}
}
