package pagi

import (
	"log/slog"
	"sync/atomic"
	"time"
)

// Trace is the trace of a request that is recorded. The code that records traces gives it to the parts of the program by
// LogNotes.SetTrace, and the parts tell it how long their work took. Most requests have none.
//
// The header traceparent of such a request names the span of the whole request. All methods are safe for concurrent use.
type Trace interface {
	// TraceID is the id of the trace: 32 hexadecimal digits in lower case.
	TraceID() string
	// Start returns a new span below that of the request. name is one of few; begin is when its work begins. The span is
	// recorded when it ends, and not before.
	Start(name string, begin time.Time) TraceSpan
}

// TraceSpan is a part of the work on a request. One goroutine at a time uses it.
type TraceSpan interface {
	// Traceparent is the value of the header traceparent for what does this work (W3C Trace Context).
	Traceparent() string
	// Begin sets when the work has begun, in place of what Start was told.
	Begin(at time.Time)
	// SetClient says that the work is that of another server, which this one asks.
	SetClient()
	// Set adds attributes. Values of the kinds string, int64, float64 and bool are kept as such, others as texts.
	Set(attributes ...slog.Attr)
	// End records the span. A nil error says that the work has succeeded. Later calls of any method do nothing.
	End(at time.Time, err error)
}

// HeaderTraceparent is the name of the header that carries the id of a trace and of a span.
const HeaderTraceparent = "traceparent"

// traces says that SetTrace was ever called. A process without traces need not look for them.
var traces atomic.Bool

// SetTrace has the request be one whose trace is recorded. With a nil LogNotes it does nothing.
func (n *LogNotes) SetTrace(t Trace) {
	if n == nil {
		return
	}
	if !traces.Load() {
		traces.Store(true)
	}
	n.push(&LogNote{trace: &t})
}

// Trace returns what SetTrace was told last. It is nil for a request that is not recorded.
func (n *LogNotes) Trace() Trace {
	if !traces.Load() {
		return nil
	}
	for note := n.latest(); note != nil; note = note.next {
		if note.trace != nil {
			return *note.trace
		}
	}
	return nil
}

// Trace returns the trace of the request; nil: it is not recorded.
func (s *Scope) Trace() Trace { return s.Notes.Trace() }

// Below returns a copy of the scope for what does the work of a span: its header traceparent names the span.
func (s *Scope) Below(span TraceSpan) *Scope {
	c := s.Clone()
	c.Headers = s.Headers.Clone()
	c.Headers.Set(HeaderTraceparent, span.Traceparent())
	return c
}
