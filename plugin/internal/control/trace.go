package control

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// What an adapter does for a request whose trace is recorded, the gateway learns from a header of the response: the adapter
// itself sends no spans anywhere. The header tells what has ended by then, and what has begun.

const (
	// extTraced is the extension of a scope whose trace is recorded. Its header traceparent names the span for the adapter's
	// work, whose parts the adapter reports.
	extTraced = "pagi.traced"
	// traceHeader is the response header of a report. It never reaches a client, and no application can set it.
	traceHeader = "pagi-bridge-trace"
)

// maxTold is how many spans a report has.
const maxTold = 16

// ToldSpan is a span that an adapter tells of.
type ToldSpan struct {
	Name       string         `json:"name"`
	Begin      int64          `json:"begin"`                // in Unix nanoseconds
	End        int64          `json:"end,omitzero"`         // 0: it goes on
	Attributes map[string]any `json:"attributes,omitempty"` // strings, numbers and bools
}

// Traced returns the scope for an adapter that is to report the parts of span.
func Traced(scope *pagi.Scope, span pagi.TraceSpan) *pagi.Scope {
	scope = scope.Below(span)
	extensions := map[string]any{extTraced: struct{}{}}
	for name, value := range scope.Extensions {
		extensions[name] = value
	}
	scope.Extensions = extensions
	return scope
}

// TakeReport takes the report of an adapter out of a response and records it below t: spans that have ended by their own, and
// one that goes on as span. An adapter of an earlier version reports nothing.
func TakeReport(start *pagi.HTTPResponseStart, t pagi.Trace, span pagi.TraceSpan) error {
	text := start.Headers.Get(traceHeader)
	if text == "" {
		return nil
	}
	start.Headers = start.Headers.Clone()
	start.Headers.Del(traceHeader)
	var told []ToldSpan
	if err := json.Unmarshal([]byte(text), &told); err != nil {
		return fmt.Errorf("the spans that the adapter tells: %w", err)
	}
	for _, one := range told[:min(len(told), maxTold)] {
		to := span
		if one.End != 0 {
			to = t.Start(one.Name, time.Unix(0, one.Begin))
		} else {
			span.Begin(time.Unix(0, one.Begin))
		}
		for name, value := range one.Attributes {
			if number, is := value.(float64); is && number == float64(int64(number)) {
				value = int64(number)
			}
			to.Set(slog.Any(name, value))
		}
		if one.End != 0 {
			to.End(time.Unix(0, one.End), nil)
		}
	}
	return nil
}

// report is the adapter's half: a pagi.Trace that keeps what it is told. A nil report is that of a request that is not traced.
type report struct {
	parent string // the header traceparent

	mu   sync.Mutex
	told []*told
}

// followed returns the scope for the application, with a report if the gateway asks for one.
func followed(scope *pagi.Scope) (*pagi.Scope, *report) {
	if !scope.HasExtension(extTraced) {
		return scope, nil
	}
	r := &report{parent: scope.Headers.Get(pagi.HeaderTraceparent)}
	scope = scope.Clone()
	scope.Notes = &pagi.LogNotes{}
	scope.Notes.SetTrace(r)
	return scope, r
}

// into takes from a response what an application has put in the place of a report, and puts the report there.
func (r *report) into(start pagi.HTTPResponseStart) pagi.HTTPResponseStart {
	if r == nil && !start.Headers.Has(traceHeader) {
		return start
	}
	start.Headers = start.Headers.Clone()
	start.Headers.Del(traceHeader)
	if r == nil {
		return start
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	spans := make([]ToldSpan, len(r.told))
	for i, one := range r.told {
		spans[i] = one.ToldSpan
	}
	text, err := json.Marshal(spans)
	if err != nil {
		return start // ToldSpan has nothing that cannot be encoded
	}
	start.Headers.Add(traceHeader, string(text))
	return start
}

// sender returns a send that adds the report.
func (r *report) sender(send pagi.Send) pagi.Send {
	if r == nil {
		return send
	}
	return func(ctx context.Context, ev pagi.Event) error {
		if start, is := ev.(pagi.HTTPResponseStart); is {
			ev = r.into(start)
		}
		return send(ctx, ev)
	}
}

// TraceID implements pagi.Trace.
func (r *report) TraceID() string {
	if len(r.parent) < len("00-")+32 {
		return ""
	}
	return r.parent[len("00-"):][:32]
}

// Start implements pagi.Trace.
func (r *report) Start(name string, begin time.Time) pagi.TraceSpan {
	t := &told{report: r, ToldSpan: ToldSpan{Name: name, Begin: begin.UnixNano()}}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.told) < maxTold {
		r.told = append(r.told, t)
	}
	return t
}

// told is a span of a report.
type told struct {
	report *report
	ToldSpan
}

// Traceparent implements pagi.TraceSpan: the gateway's span stands for that of the application.
func (t *told) Traceparent() string { return t.report.parent }

// Begin implements pagi.TraceSpan.
func (t *told) Begin(at time.Time) {
	t.report.mu.Lock()
	defer t.report.mu.Unlock()
	t.ToldSpan.Begin = at.UnixNano()
}

// SetClient implements pagi.TraceSpan. What runs in an adapter asks no other server.
func (t *told) SetClient() {}

// Set implements pagi.TraceSpan.
func (t *told) Set(attributes ...slog.Attr) {
	t.report.mu.Lock()
	defer t.report.mu.Unlock()
	if t.Attributes == nil {
		t.Attributes = map[string]any{}
	}
	for _, a := range attributes {
		t.Attributes[a.Key] = a.Value.Any()
	}
}

// End implements pagi.TraceSpan. The gateway learns of an error by the response.
func (t *told) End(at time.Time, _ error) {
	t.report.mu.Lock()
	defer t.report.mu.Unlock()
	t.ToldSpan.End = max(at.UnixNano(), 1)
}
