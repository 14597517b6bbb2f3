//go:build unix

package cgi

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// maxRedirects is how many local redirects in a row are followed.
const maxRedirects = 10

// redirectsKey is the scope value that counts them.
const redirectsKey = "pagi-bridge.cgi.redirects"

// redirect answers a local redirect (RFC 3875 section 6.2.2): with what the site
// would answer to a GET (or HEAD) for that path, without a body.
func (a *app) redirect(ctx context.Context, scope *pagi.Scope, location string, receive pagi.Receive, send pagi.Send) error {
	done, _ := scope.Value(redirectsKey).(int)
	if done >= maxRedirects {
		return badGateway(fmt.Errorf("cgi: %s: more than %d local redirects in a row, the last one to %s", scope.RootPath+scope.Path, maxRedirects, location))
	}
	location, _, _ = strings.Cut(location, "#") // not for a server
	target, err := url.ParseRequestURI(location)
	if err != nil {
		return badGateway(fmt.Errorf("cgi: local redirect: %w", err))
	}
	next := scope.With(redirectsKey, done+1)
	if next.Method != http.MethodHead {
		next.Method = http.MethodGet
	}
	next.Target, next.Path, next.QueryString = target.RequestURI(), target.Path, target.RawQuery
	next.RawPath, _, _ = strings.Cut(next.Target, "?")
	next.Headers = scope.Headers.Clone()
	for _, name := range []string{"content-length", "content-type", "transfer-encoding", "expect"} {
		next.Headers.Del(name)
	}
	if a.Redirect != nil {
		next.RootPath = ""
		return a.Redirect.Serve(ctx, next, emptyBody(receive), send)
	}
	below, ok := strings.CutPrefix(next.Path, scope.RootPath)
	if !ok || below != "" && below[0] != '/' {
		moved := &refusal{status: http.StatusFound, location: location}
		return moved.answer(ctx, scope, send)
	}
	next.Path = below
	return a.mount.app.Serve(ctx, next, emptyBody(receive), send)
}

// emptyBody is a Receive that begins with the end of an empty body and goes on
// with what follows the body in receive.
func emptyBody(receive pagi.Receive) pagi.Receive {
	begun := false
	return func(ctx context.Context) (pagi.Event, error) {
		if !begun {
			begun = true
			return pagi.HTTPRequest{}, nil
		}
		for {
			ev, err := receive(ctx)
			if _, isBody := ev.(pagi.HTTPRequest); isBody && err == nil {
				continue
			}
			return ev, err
		}
	}
}
