package pagitest

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// sequence checks the rules for the events of a response.
type sequence struct {
	scope    *pagi.Scope
	started  bool
	trailers bool // announced and not yet sent
	bodyDone bool
	noBody   bool  // the status or the method forbids a body
	length   int64 // the Content-Length; -1: none
	sent     int64

	declined bool   // an sse scope that gets an ordinary response
	reason   string // of an sse.close
}

// complete reports whether the response has all its parts.
func (s *sequence) complete() bool { return s.bodyDone && !s.trailers }

// check returns an error for an event that must not come at this stage. The stage then stays.
func (s *sequence) check(ev pagi.Event) error {
	if err := pagi.Validate(s.scope.Type, ev); err != nil {
		return err
	}
	if err := pagi.CheckOrder(s.stage(), ev); err != nil {
		return err
	}
	unoffered := func(extension string) error {
		if s.scope.HasExtension(extension) {
			return nil
		}
		return &pagi.EventError{Type: ev.EventType(), Problem: "the scope does not offer the extension " + extension}
	}
	switch e := ev.(type) {
	case pagi.HTTPFullFlush:
		return unoffered(pagi.ExtFullFlush)
	case pagi.HTTPResponseInformational:
		if err := unoffered(pagi.ExtInformational); err != nil {
			return err
		}
		return lowerCase(e.EventType(), e.Headers)
	case pagi.HTTPResponseStart:
		if err := s.start(e, e.Status, e.Headers); err != nil {
			return err
		}
		s.trailers = e.Trailers
	case pagi.HTTPResponseTrailers:
		if err := lowerCase(e.EventType(), e.Headers); err != nil {
			return err
		}
		s.trailers = false
	case pagi.SSEStart:
		if err := lowerCase(e.EventType(), e.Headers); err != nil {
			return err
		}
		s.started, s.length = true, -1
	case pagi.SSEHTTPResponseStart:
		if err := s.start(e, e.Status, e.Headers); err != nil {
			return err
		}
		s.declined = true
	}
	return nil
}

// stage returns the stage of the sequence in the order of events.
func (s *sequence) stage() pagi.Stage {
	switch {
	case s.declined && s.bodyDone:
		return pagi.StageDeniedComplete
	case s.declined:
		return pagi.StageDenied
	case !s.started:
		return pagi.StageBegin
	case s.complete():
		return pagi.StageComplete
	case s.bodyDone:
		return pagi.StageEnded
	case s.trailers:
		return pagi.StageAnnounced
	}
	return pagi.StageOpen
}

// body counts n bytes of body; last says that no more follow.
func (s *sequence) body(n int64, last bool) error {
	sent := s.sent + n
	wrong := func(problem string, args ...any) error {
		return &pagi.EventError{Type: "http.response.body", Problem: fmt.Sprintf(problem, args...)}
	}
	switch {
	case s.noBody && sent > 0:
		return wrong("a response with this status has no body")
	case s.length < 0 || s.noBody:
	case sent > s.length:
		return wrong("%d bytes are more than the content-length of %d", sent, s.length)
	case last && sent < s.length && s.scope.Method != "HEAD":
		return wrong("%d bytes are less than the content-length of %d", sent, s.length)
	}
	s.sent, s.bodyDone = sent, last
	return nil
}

// start begins a response.
func (s *sequence) start(ev pagi.Event, status int, headers pagi.Headers) error {
	if err := lowerCase(ev.EventType(), headers); err != nil {
		return err
	}
	if err := s.readLength(ev, headers); err != nil {
		return err
	}
	s.started, s.noBody = true, status == 204 || status == 304
	return nil
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
