package reply

import (
	"context"
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// ToSlash redirects a request for a directory to its path with a slash at the end: with
// 301, or with 308 where the method is neither GET nor HEAD.
func ToSlash(ctx context.Context, scope *pagi.Scope, send pagi.Send) error {
	return Status(ctx, scope, send, slashStatus(scope), "location", slashLocation(scope))
}

// FromSlash redirects a request to its path without the slash at the end, with the status of ToSlash.
// The path must have a segment in front of that slash.
func FromSlash(ctx context.Context, scope *pagi.Scope, send pagi.Send) error {
	raw, query, hasQuery := strings.Cut(scope.RequestURI(), "?")
	raw = strings.TrimSuffix(raw, "/")
	last := raw[strings.LastIndexByte(raw, '/')+1:]
	if last == "" { // a middleware has changed Path, but not RawPath
		last = url.PathEscape(path.Base(scope.RootPath + scope.Path))
	}
	location := "../" + last // relative, as that of ToSlash
	if hasQuery {
		location += "?" + query
	}
	return Status(ctx, scope, send, slashStatus(scope), "location", location)
}

func slashStatus(scope *pagi.Scope) int {
	if scope.Method != http.MethodGet && scope.Method != http.MethodHead {
		return http.StatusPermanentRedirect
	}
	return http.StatusMovedPermanently
}

// slashLocation is the last segment of the path as the client sent it, with a slash and the query.
// The reference is relative. So it is right whatever prefix a proxy in front has removed, and
// cannot lead to another host.
func slashLocation(scope *pagi.Scope) string {
	raw, query, hasQuery := strings.Cut(scope.RequestURI(), "?")
	last := raw[strings.LastIndexByte(raw, '/')+1:]
	if last == "" { // a middleware has changed Path, but not RawPath
		last = url.PathEscape(path.Base(scope.RootPath + scope.Path))
	}
	location := last + "/"
	if strings.Contains(last, ":") {
		location = "./" + location // "a:b/" would be an absolute URL
	}
	if hasQuery {
		location += "?" + query
	}
	return location
}
