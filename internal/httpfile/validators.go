package httpfile

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// validators are the tag and the date with which a client compares its copy of a file.
type validators struct {
	etag     string    // with its quotes; strong; "": none
	modified time.Time // whole seconds; zero: not known
}

// validatorsOf makes a strong tag of a file's size and modification time, which has the
// resolution of the file system: nanoseconds on those in use.
//
// Reproducible builds give all files the same time. Neither that time nor one in the future tells
// whether the file has changed. The tag then also has the time at which the system changed the
// file's entry, and Last-Modified is left out (RFC 9110 section 8.8.2.1).
func validatorsOf(file *File) validators {
	v := validators{}
	tag := make([]byte, 0, 48)
	tag = append(tag, '"')
	if isTelling(file.Modified) {
		v.modified = file.Modified.Truncate(time.Second).UTC()
	} else {
		if !isTelling(file.Changed) {
			return v
		}
		tag = strconv.AppendInt(tag, file.Changed.UnixNano(), 36)
		tag = append(tag, '.')
	}
	tag = strconv.AppendInt(tag, file.Modified.UnixNano(), 36)
	tag = append(tag, '-')
	tag = strconv.AppendInt(tag, file.Size, 36)
	v.etag = string(append(tag, '"'))
	return v
}

// isTelling reports whether a file can have been written at that time.
func isTelling(t time.Time) bool { return t.Unix() > 1 && !t.After(time.Now()) }

// precondition evaluates a request's conditional headers in the order of RFC 9110
// section 13.2.2. It returns 412, 304, or 0 for "go on".
func (v validators) precondition(h pagi.Headers) int {
	if list, ok := h.Lookup("if-match"); ok {
		if (v.etag == "" || !matchesTag(h.Joined("if-match"), v.etag, true)) && strings.TrimSpace(list) != "*" {
			return http.StatusPreconditionFailed
		}
	} else if since, ok := date(h, "if-unmodified-since"); ok && !v.modified.IsZero() && v.modified.After(since) {
		return http.StatusPreconditionFailed
	}
	if NotModified(h, v.etag, v.modified) {
		return http.StatusNotModified
	}
	return 0
}

// NotModified reports whether the client has the content with that entity tag, weak or strong, and
// that modification time; either may be missing. It evaluates If-None-Match, or else
// If-Modified-Since (RFC 9110 section 13.2.2), for GET and HEAD.
func NotModified(request pagi.Headers, etag string, modified time.Time) bool {
	if list, ok := request.Lookup("if-none-match"); ok {
		return strings.TrimSpace(list) == "*" || etag != "" && matchesTag(request.Joined("if-none-match"), strings.TrimPrefix(etag, "W/"), false)
	}
	since, ok := date(request, "if-modified-since")
	return ok && !modified.IsZero() && !modified.After(since)
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
	return v.etag != "" && strings.TrimSpace(value) == v.etag
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
