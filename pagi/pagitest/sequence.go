package pagitest

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// sequence keeps the rules an http response follows from event to event.
type sequence struct {
	scope    *pagi.Scope
	started  bool
	trailers bool // announced and not yet sent
	bodyDone bool
	noBody   bool  // the status or the method forbids one
	length   int64 // the Content-Length; -1: none
	sent     int64

	declined bool   // an sse scope, with an ordinary response
	reason   string // of an sse.close
}

// complete reports whether the response has all its parts.
func (s *sequence) complete() bool { return s.bodyDone && !s.trailers }

// check refuses an event that may not come here.
func (s *sequence) check(ev pagi.Event) error {
	if err := pagi.Validate(s.scope.Type, ev); err != nil {
		return err
	}
	if s.scope.Type == pagi.TypeSSE {
		return s.checkSSE(ev)
	}
	wrong := func(problem string) error { return &pagi.EventError{Type: ev.EventType(), Problem: problem} }
	if s.complete() {
		return wrong("the response is complete")
	}
	switch e := ev.(type) {
	case pagi.HTTPResponseInformational:
		if s.started {
			return wrong("must come before http.response.start")
		}
		if !s.scope.HasExtension(pagi.ExtInformational) {
			return wrong("the scope does not offer the extension " + pagi.ExtInformational)
		}
		return lowerCase(e.EventType(), e.Headers)
	case pagi.HTTPResponseStart:
		if s.started {
			return wrong("the response was started already")
		}
		s.trailers = e.Trailers
		return s.start(e, e.Status, e.Headers)
	case pagi.HTTPResponseBody:
		switch {
		case !s.started:
			return wrong("came before http.response.start")
		case s.bodyDone:
			return wrong("the body is complete")
		}
	case pagi.HTTPResponseTrailers:
		switch {
		case !s.trailers:
			return wrong("http.response.start did not announce trailers")
		case !s.bodyDone:
			return wrong("the body is not complete")
		}
		s.trailers = false
		return lowerCase(e.EventType(), e.Headers)
	case pagi.HTTPFullFlush:
		if !s.scope.HasExtension(pagi.ExtFullFlush) {
			return wrong("the scope does not offer the extension " + pagi.ExtFullFlush)
		}
	}
	return nil
}

// body counts n bytes of body; last says that there are no more.
func (s *sequence) body(n int64, last bool) error {
	s.sent += n
	s.bodyDone = last
	wrong := func(problem string, args ...any) error {
		return &pagi.EventError{Type: "http.response.body", Problem: fmt.Sprintf(problem, args...)}
	}
	switch {
	case s.noBody && s.sent > 0:
		return wrong("a response with this status has no body")
	case s.length < 0 || s.noBody:
	case s.sent > s.length:
		return wrong("%d bytes are more than the content-length of %d", s.sent, s.length)
	case last && s.sent < s.length && s.scope.Method != "HEAD":
		return wrong("%d bytes are less than the content-length of %d", s.sent, s.length)
	}
	return nil
}

// start begins a response.
func (s *sequence) start(ev pagi.Event, status int, headers pagi.Headers) error {
	if err := s.readLength(ev, headers); err != nil {
		return err
	}
	s.started = true
	s.noBody = status == 204 || status == 304
	return lowerCase(ev.EventType(), headers)
}

func (s *sequence) readLength(ev pagi.Event, headers pagi.Headers) error {
	s.length = -1
	for value := range headers.Values("content-length") {
		n, err := strconv.ParseUint(value, 10, 63)
		if err != nil || s.length >= 0 {
			return &pagi.EventError{Type: ev.EventType(), Field: "headers", Problem: fmt.Sprintf("must contain at most one content-length, a number; found %q", value)}
		}
		s.length = int64(n)
	}
	return nil
}

func lowerCase(eventType string, headers pagi.Headers) error {
	for _, h := range headers {
		if h.Name != strings.ToLower(h.Name) {
			return &pagi.EventError{Type: eventType, Field: "headers", Problem: fmt.Sprintf("contains the name %q, which must be in lower case", h.Name)}
		}
	}
	return nil
}
