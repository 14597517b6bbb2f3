package reply_test

import (
	"context"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
)

func TestRedirectsToTheOtherSlashAreRelative(t *testing.T) {
	for _, c := range []struct {
		name   string
		to     func(context.Context, *pagi.Scope, pagi.Send) error
		scope  *pagi.Scope
		status int
		want   string
	}{
		{"to the slash", reply.ToSlash, &pagi.Scope{Method: "GET", RawPath: "/a/b"}, 301, "b/"},
		{"to the slash, with a query", reply.ToSlash, &pagi.Scope{Method: "POST", RawPath: "/a/b", QueryString: "x=/"}, 308, "b/?x=/"},
		{"to the slash, with a colon", reply.ToSlash, &pagi.Scope{Method: "HEAD", RawPath: "/a:b"}, 301, "./a:b/"},
		{"from the slash", reply.FromSlash, &pagi.Scope{Method: "GET", RawPath: "/a/b/"}, 301, "../b"},
		{"from the slash, with a query", reply.FromSlash, &pagi.Scope{Method: "PUT", RawPath: "/b/", QueryString: "x=/"}, 308, "../b?x=/"},
		{"from the slash, with a colon", reply.FromSlash, &pagi.Scope{Method: "HEAD", RawPath: "/a:b/"}, 301, "../a:b"},
		{"from the slash, encoded", reply.FromSlash, &pagi.Scope{Method: "GET", RawPath: "/a%2Fb/"}, 301, "../a%2Fb"},
		{"from the slash, of a path that looks like a host", reply.FromSlash, &pagi.Scope{Method: "GET", RawPath: "//evil.example/"}, 301, "../evil.example"},
		{"from the slash, where only Path has one", reply.FromSlash, &pagi.Scope{Method: "GET", RawPath: "/", Path: "/a b/"}, 301, "../a%20b"},
	} {
		c.scope.Type = pagi.TypeHTTP
		err := c.to(t.Context(), c.scope, func(_ context.Context, ev pagi.Event) error {
			if start, is := ev.(pagi.HTTPResponseStart); is && (start.Status != c.status || start.Headers.Get("location") != c.want) {
				t.Errorf("%s: %d %q", c.name, start.Status, start.Headers.Get("location"))
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
