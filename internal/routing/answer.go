package routing

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/internal/routetree"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// allowedKey is the key of the scope value with the methods that MethodNotAllowed may answer.
const allowedKey = "pagi.router.allowed"

// Allowed returns the value of the header allow for an application that answers 405 in place of a
// router; "" in any other scope.
func Allowed(scope *pagi.Scope) string {
	allowed, _ := scope.Value(allowedKey).(string)
	return allowed
}

// allowed returns the methods for which a path has routes, sorted, with those that the Mux answers
// itself. It is nil where there is no route.
func (m *Mux) allowed(scope *pagi.Scope, path *routetree.Path) []string {
	if scope.Type != pagi.TypeHTTP {
		return nil
	}
	var methods map[string]bool
	m.http.Keys(path, func(method string) {
		if methods == nil {
			methods = map[string]bool{http.MethodOptions: true}
		}
		methods[method] = true
		if method == http.MethodGet {
			methods[http.MethodHead] = true
		}
	})
	return slices.Sorted(maps.Keys(methods))
}

// refuseMethod answers a request for which the path has routes, but none for the method.
func (m *Mux) refuseMethod(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send, allowed []string) error {
	allow := strings.Join(allowed, ", ")
	switch {
	case scope.Method == http.MethodOptions:
		return reply.Send(ctx, scope, send, http.StatusNoContent, pagi.NewHeaders("allow", allow), nil)
	case m.options.MethodNotAllowed != nil:
		return m.options.MethodNotAllowed.Serve(ctx, scope.With(allowedKey, allow), receive, withAllow(send, allow))
	}
	return reply.Status(ctx, scope, send, http.StatusMethodNotAllowed, "allow", allow)
}

// withAllow adds the header allow to a 405 that lacks it (RFC 9110 section 15.5.6).
func withAllow(send pagi.Send, allow string) pagi.Send {
	return func(ctx context.Context, ev pagi.Event) error {
		start, is := ev.(pagi.HTTPResponseStart)
		if is && start.Status == http.StatusMethodNotAllowed && !start.Headers.Has("allow") {
			start.Headers = start.Headers.Clone()
			start.Headers.Add("allow", allow)
			ev = start
		}
		return send(ctx, ev)
	}
}

func (m *Mux) notFound(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if m.options.NotFound != nil {
		return m.options.NotFound.Serve(ctx, scope, receive, send)
	}
	return reply.Status(ctx, scope, send, http.StatusNotFound)
}

// otherSlash returns the path with a slash at its end, or without the one that it has. ok is false if
// the path without it would be empty or end with another slash.
func otherSlash(path routetree.Path) (other routetree.Path, ok bool) {
	if !endsWithSlash(path) {
		path.Text += "/"
		return path, true
	}
	path.Text = strings.TrimSuffix(path.Text, "/")
	return path, path.Text != "" && !endsWithSlash(path)
}

// endsWithSlash reports whether the last segment of a path is empty.
func endsWithSlash(path routetree.Path) bool {
	return strings.HasSuffix(path.Text, "/") && !path.Encoded(len(path.Text)-1)
}

// redirect redirects to the path that otherSlash has found.
func redirect(ctx context.Context, scope *pagi.Scope, send pagi.Send, path *routetree.Path) error {
	if endsWithSlash(*path) {
		return reply.FromSlash(ctx, scope, send)
	}
	return reply.ToSlash(ctx, scope, send)
}
