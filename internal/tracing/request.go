package tracing

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// errorLimit is how many bytes of the text of an error are kept.
const errorLimit = 1024

// request is the trace of one request: its pagi.Trace.
type request struct {
	tracer *Tracer
	span   trace.Span // of the request as a whole; the Observer ends it
	header string     // traceparent
}

// TraceID implements pagi.Trace.
func (r *request) TraceID() string { return r.span.SpanContext().TraceID().String() }

// Start implements pagi.Trace.
func (r *request) Start(name string, begin time.Time) pagi.TraceSpan {
	return &child{request: r, name: name, kind: trace.SpanKindInternal, begin: begin, id: newSpanID()}
}

// child is a span of work on a request. The SDK sees it when it ends.
type child struct {
	request *request
	id      trace.SpanID

	mu         sync.Mutex // guards what follows
	name       string
	kind       trace.SpanKind
	begin      time.Time
	attributes []attribute.KeyValue
	ended      bool
}

// Traceparent implements pagi.TraceSpan.
func (c *child) Traceparent() string {
	return traceparent(c.request.span.SpanContext().TraceID(), c.id, true)
}

// Begin implements pagi.TraceSpan.
func (c *child) Begin(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.begin = at
}

// SetClient implements pagi.TraceSpan.
func (c *child) SetClient() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kind = trace.SpanKindClient
}

// Set implements pagi.TraceSpan.
func (c *child) Set(attributes ...slog.Attr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range attributes {
		c.attributes = append(c.attributes, attributeOf(a))
	}
}

// End implements pagi.TraceSpan.
func (c *child) End(at time.Time, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return
	}
	c.ended = true
	ctx := reserved{span: c.id}.with(trace.ContextWithSpanContext(context.Background(), c.request.span.SpanContext()))
	_, span := c.request.tracer.tracer.Start(ctx, text(c.name), trace.WithSpanKind(c.kind), trace.WithTimestamp(c.begin), trace.WithAttributes(c.attributes...))
	if err != nil {
		span.SetStatus(codes.Error, errorText(err))
	}
	span.End(trace.WithTimestamp(at))
}

func attributeOf(a slog.Attr) attribute.KeyValue {
	switch key, v := text(a.Key), a.Value.Resolve(); v.Kind() {
	case slog.KindInt64:
		return attribute.Int64(key, v.Int64())
	case slog.KindFloat64:
		return attribute.Float64(key, v.Float64())
	case slog.KindBool:
		return attribute.Bool(key, v.Bool())
	default:
		return attribute.String(key, text(v.String()))
	}
}

// text returns a text in the form that protobuf wants. One that is no UTF-8 would cost all spans that are sent with it.
func text(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

func errorText(err error) string {
	s := err.Error()
	return text(s[:min(len(s), errorLimit)])
}
