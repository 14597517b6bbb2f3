package pagi

import (
	"context"
	"net/http"
)

// sendTrailers ends the response. HTTP/1.0 and responses without a body cannot
// carry trailers; the ResponseWriter leaves them out there.
func (x *exchange) sendTrailers(e *HTTPResponseTrailers) error {
	switch {
	case x.phase == phaseIdle, !x.trailer:
		return &EventError{e.EventType(), "", "http.response.start must have announced trailers"}
	case x.phase == phaseComplete:
		return &EventError{e.EventType(), "", "the response is complete"}
	case x.phase != phaseTrailers:
		return &EventError{e.EventType(), "", "the body must end first"}
	}
	if x.stream != nil {
		x.setWriteDeadline()
		if err := x.stream.WriteTrailers(e.Headers); err != nil {
			return writeLost(err)
		}
		x.phase = phaseComplete
		x.disarm()
		return nil
	}
	to := x.w.Header()
	for _, t := range e.Headers {
		to.Add(http.TrailerPrefix+CanonicalName(t.Name), t.Value)
	}
	if x.r.Context().Err() != nil { // they leave with the end of the handler: this is the last look
		return &connectionLost{ReasonClientClosed, context.Cause(x.r.Context())}
	}
	x.phase = phaseComplete
	return nil
}
