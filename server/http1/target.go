package http1

import (
	"net/http"
	"net/url"
	"strings"
)

// parseTarget makes a URL of a request target (RFC 9112 section 3.2). Most are a path
// in which every character stands for itself, and a query; the others are url's.
func (x *stream) parseTarget(target string) *Refusal {
	path, query, _ := strings.Cut(target, "?")
	if strings.HasPrefix(path, "/") && all(path, classPath) && all(query, classQuery) {
		x.url.Path, x.url.RawQuery = path, query
		x.url.ForceQuery = query == "" && len(path) < len(target)
		return nil
	}
	if x.req.Method == http.MethodConnect && !strings.HasPrefix(target, "/") {
		target = "http://" + target // authority form
	}
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return bad("the request target is malformed")
	}
	if u.Host != "" && !isHost(u.Host) {
		return bad("the request target's host is malformed")
	}
	x.url = *u
	return nil
}
