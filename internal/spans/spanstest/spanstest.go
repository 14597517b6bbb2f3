// Package spanstest is a pagi.Trace for tests, which keeps what it is told.
package spanstest

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// ID is the id of each Trace.
const ID = "0af7651916cd43dd8448eb211c80319c"

// Trace is a pagi.Trace. The zero value is ready for use.
type Trace struct {
	mu    sync.Mutex
	begun int
	ended []*Span
}

// Span is a span that has ended.
type Span struct {
	trace  *Trace
	number int

	Name       string
	From, To   time.Time
	Err        error
	Client     bool
	Attributes map[string]string // values as texts
}

// TraceID implements pagi.Trace.
func (t *Trace) TraceID() string { return ID }

// Start implements pagi.Trace.
func (t *Trace) Start(name string, begin time.Time) pagi.TraceSpan {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begun++
	return &Span{trace: t, number: t.begun, Name: name, From: begin, Attributes: map[string]string{}}
}

// Ended returns the spans that have ended, in their order.
func (t *Trace) Ended() []*Span {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.ended)
}

// Only returns the one span of a name that has ended.
func (t *Trace) Only(tb testing.TB, name string) *Span {
	tb.Helper()
	var found []*Span
	for _, s := range t.Ended() {
		if s.Name == name {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		tb.Fatalf("%d spans are called %q, of %d", len(found), name, len(t.Ended()))
	}
	return found[0]
}

// Traceparent implements pagi.TraceSpan.
func (s *Span) Traceparent() string { return fmt.Sprintf("00-%s-%016x-01", ID, s.number) }

// Begin implements pagi.TraceSpan.
func (s *Span) Begin(at time.Time) { s.From = at }

// SetClient implements pagi.TraceSpan.
func (s *Span) SetClient() { s.Client = true }

// Set implements pagi.TraceSpan.
func (s *Span) Set(attributes ...slog.Attr) {
	for _, a := range attributes {
		s.Attributes[a.Key] = a.Value.String()
	}
}

// End implements pagi.TraceSpan.
func (s *Span) End(at time.Time, err error) {
	s.To, s.Err = at, err
	s.trace.mu.Lock()
	defer s.trace.mu.Unlock()
	s.trace.ended = append(s.trace.ended, s)
}
