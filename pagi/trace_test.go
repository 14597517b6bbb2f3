package pagi_test

import (
	"slices"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/spans/spanstest"
	"github.com/pagi-go/pagi-bridge/pagi"
)

func TestTheTraceOfARequest(t *testing.T) {
	notes := &pagi.LogNotes{}
	scope := &pagi.Scope{Type: pagi.TypeHTTP, Notes: notes, Headers: pagi.NewHeaders("host", "a", "traceparent", "before")}
	if scope.Trace() != nil || (&pagi.Scope{}).Trace() != nil {
		t.Error("there is a trace already")
	}
	(&pagi.Scope{}).Notes.SetTrace(&spanstest.Trace{}) // does nothing
	trace := &spanstest.Trace{}
	notes.SetTrace(trace)
	if scope.Trace() != pagi.Trace(trace) || scope.Clone().Trace() != pagi.Trace(trace) {
		t.Error("the scope does not have the trace")
	}
	span := scope.Trace().Start("work", time.Now())
	below := scope.Below(span)
	if got := below.Headers.Joined("traceparent"); got != span.Traceparent() || scope.Headers.Get("traceparent") != "before" || below.Headers.Get("host") != "a" {
		t.Errorf("below the span: %v, above: %v", below.Headers, scope.Headers)
	}
	notes.Add(pagi.NewLogNote("a", 1, "b", 2))
	notes.Add(pagi.NewLogNote("b", 3))
	if got, want := notes.Append(nil), []any{"b", 3, "a", 1, "b", 2, "trace_id", spanstest.ID}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if notes.Value("b") != 3 || notes.Value("a") != 1 || notes.Value("none") != nil || (*pagi.LogNotes)(nil).Value("a") != nil {
		t.Error("Value")
	}
	notes.Clear() // an application is called again
	if scope.Trace() == nil || notes.Value("a") != nil {
		t.Error("Clear")
	}
}

func TestARequestThatIsNotTracedAllocatesNothing(t *testing.T) {
	scope := &pagi.Scope{Notes: &pagi.LogNotes{}}
	if n := testing.AllocsPerRun(100, func() {
		if scope.Trace() != nil {
			t.Error("a trace")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
