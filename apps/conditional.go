package apps

import (
	"net/http"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// validators are what a client can compare its copy of a file with.
type validators struct {
	etag     string    // with its quotes; strong
	modified time.Time // whole seconds; zero: not known
}

// precondition evaluates a request's conditional headers in the order of RFC 9110
// section 13.2.2. It returns 412, 304, or 0 for "go on".
func (v validators) precondition(h pagi.Headers) int {
	if list, ok := h.Lookup("if-match"); ok {
		if !matchesTag(h.Joined("if-match"), v.etag, true) && strings.TrimSpace(list) != "*" {
			return http.StatusPreconditionFailed
		}
	} else if since, ok := date(h, "if-unmodified-since"); ok && !v.modified.IsZero() && v.modified.After(since) {
		return http.StatusPreconditionFailed
	}
	if list, ok := h.Lookup("if-none-match"); ok {
		if strings.TrimSpace(list) == "*" || matchesTag(h.Joined("if-none-match"), v.etag, false) {
			return http.StatusNotModified
		}
	} else if since, ok := date(h, "if-modified-since"); ok && !v.modified.IsZero() && !v.modified.After(since) {
		return http.StatusNotModified
	}
	return 0
}

// rangeApplies evaluates If-Range (RFC 9110 section 13.1.5): a tag must match
// strongly, a date exactly.
func (v validators) rangeApplies(h pagi.Headers) bool {
	value, ok := h.Lookup("if-range")
	if !ok {
		return true
	}
	if since, ok := date(h, "if-range"); ok {
		return !v.modified.IsZero() && v.modified.Equal(since)
	}
	return strings.TrimSpace(value) == v.etag
}

func date(h pagi.Headers, name string) (time.Time, bool) {
	value, ok := h.Lookup(name)
	if !ok {
		return time.Time{}, false
	}
	t, err := http.ParseTime(value)
	return t, err == nil
}

// matchesTag reports whether a list of entity tags contains etag. A weak tag in
// the list never matches strongly (RFC 9110 section 8.8.3.2).
func matchesTag(list, etag string, strong bool) bool {
	for list != "" {
		list = strings.TrimLeft(list, " \t,")
		rest, weak := strings.CutPrefix(list, "W/")
		if !strings.HasPrefix(rest, `"`) {
			return false // not a list of tags
		}
		end := strings.IndexByte(rest[1:], '"')
		if end < 0 {
			return false
		}
		if tag := rest[:end+2]; tag == etag && !(weak && strong) {
			return true
		}
		list = rest[end+2:]
	}
	return false
}
