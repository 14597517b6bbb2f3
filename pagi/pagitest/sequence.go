package pagitest

import (
	"github.com/pagi-go/pagi-bridge/internal/lint"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// sequence checks the rules for the events of a response.
type sequence struct {
	scope    *pagi.Scope
	started  bool
	trailers bool // announced and not yet sent
	bodyDone bool
	length   lint.Length

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
	if err := lint.CheckNames(ev); err != nil {
		return err
	}
	switch e := ev.(type) {
	case pagi.HTTPFullFlush:
		return lint.Offered(s.scope, ev, pagi.ExtFullFlush)
	case pagi.HTTPResponseInformational:
		return lint.Offered(s.scope, ev, pagi.ExtInformational)
	case pagi.HTTPResponseStart:
		if err := s.start(e, e.Status, e.Headers); err != nil {
			return err
		}
		s.trailers = e.Trailers
	case pagi.HTTPResponseTrailers:
		s.trailers = false
	case pagi.SSEStart:
		s.started = true
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
	if err := s.length.Body(n, last, s.scope.Method == "HEAD"); err != nil {
		return err
	}
	s.bodyDone = last
	return nil
}

// start begins a response.
func (s *sequence) start(ev pagi.Event, status int, headers pagi.Headers) error {
	if err := s.length.Begin(ev, status, headers); err != nil {
		return err
	}
	s.started = true
	return nil
}
