package tracing

import (
	"context"
	"slices"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// App returns next with a span around each request that is recorded. peers are those whose trace context is taken up. It must
// be outermost: the client of a scope is the peer. A nil Tracer returns next.
func (t *Tracer) App(next pagi.App, peers Peers) pagi.App {
	if t == nil {
		return next
	}
	return &app{tracer: t, next: next, peers: peers}
}

type app struct {
	tracer *Tracer
	next   pagi.App
	peers  Peers
}

// Serve implements pagi.App. It allocates nothing for a request that is not recorded, unless headers must be changed: those of
// a trace context that is not taken up do not go on.
func (a *app) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type == pagi.TypeLifespan {
		return a.next.Serve(ctx, scope, receive, send)
	}
	if r, is := scope.Trace().(*request); is { // the application has declined it as an event stream, and is called again
		return a.serve(ctx, r, scope, receive, send)
	}
	parent, said, has := find(scope.Headers)
	if said && !(has && a.peers.has(scope.Client.Host)) {
		has = false
		scope = scope.Clone()
		scope.Headers = without(scope.Headers)
	}
	if !a.tracer.sampler.decide(&parent, has) {
		if has && parent.isSampled() { // only by a sampler that does not look at parents
			scope = scope.Clone()
			scope.Headers = scope.Headers.Clone()
			scope.Headers.Set(pagi.HeaderTraceparent, traceparent(parent.trace, newSpanID(), false))
		}
		return a.next.Serve(ctx, scope, receive, send)
	}
	r := a.tracer.begin(scope.Method, time.Now(), parent, has, scope.Headers)
	scope.Notes.SetTrace(r)
	return a.serve(ctx, r, scope, receive, send)
}

// serve serves a request that is recorded. The context has its span for code that knows OpenTelemetry.
func (a *app) serve(ctx context.Context, r *request, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	scope = scope.Clone()
	scope.Headers = append(without(scope.Headers), pagi.Header{Name: pagi.HeaderTraceparent, Value: r.header})
	if text := r.span.SpanContext().TraceState().String(); text != "" {
		scope.Headers = append(scope.Headers, pagi.Header{Name: headerTracestate, Value: text})
	}
	return a.next.Serve(trace.ContextWithSpan(ctx, r.span), scope, receive, send)
}

// without returns a copy of headers without those of a trace context.
func without(headers pagi.Headers) pagi.Headers {
	return slices.DeleteFunc(slices.Grow(slices.Clone(headers), 2), func(h pagi.Header) bool {
		return h.Name == pagi.HeaderTraceparent || h.Name == headerTracestate
	})
}

// begin starts the span of a request. headers have the tracestate, which counts where there is a parent.
func (t *Tracer) begin(method string, at time.Time, p parent, has bool, headers pagi.Headers) *request {
	ctx := context.Background()
	if has {
		// One that cannot be read does not go on (section 3.3.1).
		state, _ := trace.ParseTraceState(headers.Joined(headerTracestate))
		ctx = trace.ContextWithRemoteSpanContext(ctx, trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: p.trace, SpanID: p.span, TraceFlags: p.flags, TraceState: state, Remote: true,
		}))
	}
	ids := reserved{p.trace, newSpanID()}
	_, span := t.tracer.Start(ids.with(ctx), methodName(method, "GET"), trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(at))
	return &request{tracer: t, span: span, header: traceparent(ids.trace, ids.span, true)}
}
