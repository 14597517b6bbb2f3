package lint

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// CheckNames reports header names of an event that are not in lower case.
func CheckNames(ev pagi.Event) error {
	for _, h := range headersOf(ev) {
		if h.Name != strings.ToLower(h.Name) {
			return &pagi.EventError{Type: ev.EventType(), Field: "headers", Problem: fmt.Sprintf("contains the name %q, which must be in lower case", h.Name)}
		}
	}
	return nil
}

func headersOf(ev pagi.Event) pagi.Headers {
	switch e := ev.(type) {
	case pagi.HTTPResponseInformational:
		return e.Headers
	case pagi.HTTPResponseTrailers:
		return e.Headers
	}
	_, headers, _ := reply.Start(ev)
	return headers
}

// Length compares the body of a response with its content-length. Its zero value has not begun.
type Length struct {
	known  bool
	noBody bool // the status forbids a body
	length int64
	sent   int64
}

// Begin reads the headers of the event that begins a response.
func (l *Length) Begin(ev pagi.Event, status int, headers pagi.Headers) error {
	*l = Length{noBody: status == 204 || status == 304}
	for value := range headers.Values("content-length") {
		n, err := strconv.ParseUint(value, 10, 63)
		if err != nil || l.known {
			return &pagi.EventError{Type: ev.EventType(), Field: "headers", Problem: fmt.Sprintf("must contain at most one content-length, a number; found %q", value)}
		}
		l.known, l.length = true, int64(n)
	}
	return nil
}

// Body counts n bytes of the body. last says that no more follow, and head that the request asks for
// no body.
func (l *Length) Body(n int64, last, head bool) error {
	sent := l.sent + n
	wrong := func(problem string, args ...any) error {
		return &pagi.EventError{Type: "http.response.body", Problem: fmt.Sprintf(problem, args...)}
	}
	switch {
	case l.noBody && sent > 0:
		return wrong("a response with this status has no body")
	case !l.known || l.noBody:
	case sent > l.length:
		return wrong("%d bytes are more than the content-length of %d", sent, l.length)
	case last && sent < l.length && !head:
		return wrong("%d bytes are less than the content-length of %d", sent, l.length)
	}
	l.sent = sent
	return nil
}
