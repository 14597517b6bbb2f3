package pagitest

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// maxRedirects is how many redirects of one request are followed.
const maxRedirects = 10

// FollowRedirects makes Do, Get and the like follow redirects, up to ten, as a browser does: 303,
// and 301 or 302 in answer to a POST, are followed by a GET, others by the same method and body
// (RFC 9110 section 15.4). Cookies are kept on the way. Response.History has the answers before the
// last.
//
// A redirect to another host is followed only if hosts names it, with its port if it has one. A
// redirect that is not followed is the response. On the way to another host, or from https to http, the
// request loses its authorization, cookie and host headers, also those of Client.Headers.
func FollowRedirects(hosts ...string) Option {
	return func(r *request) { r.follow, r.hosts = true, hosts }
}

// follow sends the requests to which the response res to r leads.
func (c *Client) follow(method, target string, r *request, res *Response) *Response {
	var history []*Response
	for res.Err == nil {
		next, ok := c.redirect(target, r, res)
		if !ok {
			break
		}
		if len(history) == maxRedirects {
			res.Err = fmt.Errorf("%d redirects were followed, and the next is to %q", maxRedirects, res.Header("location"))
			break
		}
		method = r.redirected(method, res.Status)
		r.query, target = "", next
		history = append(history, res)
		res = c.do(method, target, r)
	}
	res.History = history
	return res
}

// redirect returns the target of a redirect that is to be followed, and moves r to its host.
func (c *Client) redirect(target string, r *request, res *Response) (next string, ok bool) {
	if !slices.Contains([]int{301, 302, 303, 307, 308}, res.Status) || !res.Headers.Has("location") {
		return "", false
	}
	root := (&url.URL{Path: c.RootPath}).EscapedPath()
	rawPath, query, _ := strings.Cut(target, "?")
	from := &url.URL{Scheme: c.scheme(r), Host: c.host(r), Path: c.RootPath + pathOf(target), RawPath: root + rawPath, RawQuery: query}
	to, err := from.Parse(res.Header("location"))
	if err != nil {
		res.Err = fmt.Errorf("the response redirects to a malformed URL: %w", err)
		return "", false
	}
	if to.Scheme != "http" && to.Scheme != "https" {
		return "", false
	}
	for _, u := range []*url.URL{from, to} {
		if port, found := map[string]string{"http": ":80", "https": ":443"}[u.Scheme]; found {
			u.Host = strings.TrimSuffix(u.Host, port)
		}
	}
	if !strings.EqualFold(to.Host, from.Host) || from.Scheme == "https" && to.Scheme == "http" {
		if !strings.EqualFold(to.Host, from.Host) && !slices.Contains(r.hosts, to.Host) && to.Host != c.host(&request{}) {
			return "", false
		}
		r.elsewhere = true
	}
	path, below := strings.CutPrefix(to.EscapedPath(), root)
	if path == "" && root == "" {
		path = "/"
	}
	if !below || !strings.HasPrefix(path, "/") { // of another application
		return "", false
	}
	r.scheme, r.host = to.Scheme, to.Host
	if to.RawQuery != "" || to.ForceQuery {
		path += "?" + to.RawQuery
	}
	return path, true
}

// redirected returns the method with which a redirect is followed. If that is another one, the
// request loses its body.
func (r *request) redirected(method string, status int) string {
	switch {
	case status == 303 && method != "GET" && method != "HEAD", method == "POST" && (status == 301 || status == 302):
	default:
		return method
	}
	for _, name := range []string{"content-length", "content-type", "content-encoding", "content-language", "content-location"} {
		r.headers.Del(name)
	}
	r.chunks, r.chunked, r.after = nil, false, nil
	return "GET"
}
