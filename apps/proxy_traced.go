package apps

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/pagi-go/pagi-bridge/apps/internal/upstream"
	"github.com/pagi-go/pagi-bridge/internal/spans"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// attemptTraced is attempt for a request whose trace is recorded. Each backend that is asked gets a span of its own, with
// attributes by the conventions of OpenTelemetry for clients of HTTP.
func (x *proxied) attemptTraced(ctx context.Context, b *upstream.Backend, mayRepeat bool) (again bool, err error) {
	span := clientSpan(x.scope, b, x.scope.Method)
	whole := x.scope
	x.scope = whole.Below(span) // that of FastCGI makes its variables of it
	if x.headers.Has(pagi.HeaderTraceparent) {
		x.headers.Set(pagi.HeaderTraceparent, span.Traceparent())
	}
	x.answered = 0
	again, err = x.try(ctx, b, mayRepeat)
	x.scope = whole
	endClientSpan(ctx, span, x.answered, err)
	return again, err
}

// attempt is serve, with a span where the trace is recorded. The span lasts as long as the WebSocket.
func (h *handshake) attempt(ctx context.Context, headers pagi.Headers, host string, receive pagi.Receive, send pagi.Send) (again bool, err error) {
	if h.scope.Trace() == nil {
		return h.serve(ctx, headers, host, receive, send)
	}
	span := clientSpan(h.scope, h.backend, http.MethodGet)
	if headers.Has(pagi.HeaderTraceparent) {
		headers.Set(pagi.HeaderTraceparent, span.Traceparent()) // in place: the next backend's span takes its turn
	}
	again, err = h.serve(ctx, headers, host, receive, send)
	endClientSpan(ctx, span, h.answered, err)
	return again, err
}

// errNoAnswer is the error of a span whose backend has not answered. The log says why.
var errNoAnswer = errors.New("the backend has not answered")

// clientSpan starts the span of a request to a backend.
func clientSpan(scope *pagi.Scope, b *upstream.Backend, method string) pagi.TraceSpan {
	span := scope.Trace().Start("proxy", time.Now())
	span.SetClient()
	span.Set(slog.String("http.request.method", method), slog.String(spans.Backend, b.Name))
	if mount := scope.Notes.Mount(); mount != "" {
		span.Set(slog.String(spans.Mount, mount))
	}
	if host := b.URL.Hostname(); host != "" {
		span.Set(slog.String("server.address", host))
	}
	if port, err := strconv.Atoi(b.URL.Port()); err == nil {
		span.Set(slog.Int("server.port", port))
	}
	return span
}

// endClientSpan ends it. status is that of the response, 0 if there was none. A span of a client has failed where the
// status is 400 or more.
func endClientSpan(ctx context.Context, span pagi.TraceSpan, status int, err error) {
	if status != 0 {
		span.Set(slog.Int("http.response.status_code", status))
	}
	switch {
	case status >= 400 && err == nil:
		span.Set(slog.String("error.type", strconv.Itoa(status)))
		err = fmt.Errorf("the backend has answered %d", status)
	case status == 0:
		err = cmp.Or(err, context.Cause(ctx), errNoAnswer)
	}
	span.End(time.Now(), err)
}
