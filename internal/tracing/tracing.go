// Package tracing records traces of requests and sends them to a collector, by the SDK of OpenTelemetry and OTLP over HTTP.
//
// A Tracer decides for each request whether it is recorded (w3c.go reads what the caller says, sampler.go decides), and App
// puts a span around the site (app.go). The parts of the program record their work in the request's pagi.Trace (request.go),
// which knows no OpenTelemetry. The observer of package engine ends the span of the request (observe.go). export.go sends the
// spans, options.go has the options and the environment variables.
//
// It may import packages pagi and engine. Only programs link it: the packages that other programs import know pagi.Trace.
package tracing

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const (
	// flushLimit is how long the last spans may take to be delivered when the program ends.
	flushLimit = 5 * time.Second
	// batchDelay is how long a span waits for others that leave with it.
	batchDelay = 2 * time.Second
	// valueLimit is how many characters of the value of an attribute are kept, unless the environment says otherwise.
	valueLimit = 1024
)

// Tracer records traces. All methods are safe for concurrent use; those of a nil Tracer do nothing.
type Tracer struct {
	sampler  sampler
	provider *sdk.TracerProvider
	tracer   trace.Tracer
	client   *client
	endpoint string
	once     sync.Once
}

// Process describes the program for the resource of its spans.
type Process struct {
	Version     string
	Environment string // development, production, ...
}

// New returns a Tracer, nil where the options are not on. Nothing is sent before a request has been recorded. Close must be
// called.
func New(o *Options, process Process, log *slog.Logger) (*Tracer, error) {
	if !o.IsOn() {
		return nil, nil
	}
	set, err := o.resolve()
	if err != nil {
		return nil, err
	}
	client, err := newClient(&set)
	if err != nil {
		return nil, err
	}
	exporter, err := otlptrace.New(context.Background(), client)
	if err != nil {
		return nil, err
	}
	attributes := []attribute.KeyValue{
		attribute.String("service.version", process.Version), attribute.Int("process.pid", os.Getpid()),
	}
	if process.Environment != "" {
		attributes = append(attributes, attribute.String("deployment.environment.name", process.Environment))
	}
	if set.service != "" {
		attributes = append(attributes, attribute.String("service.name", set.service))
	}
	// What the environment says goes before the rest, but behind what the site file says.
	about, err := resource.New(context.Background(), resource.WithTelemetrySDK(), resource.WithHost(), resource.WithAttributes(attributes...), resource.WithFromEnv())
	if err != nil && !errors.Is(err, resource.ErrPartialResource) {
		return nil, inVariable("OTEL_RESOURCE_ATTRIBUTES", "cannot be read: %w", err)
	}
	if o.ServiceName != "" {
		if about, err = resource.Merge(about, resource.NewSchemaless(attribute.String("service.name", o.ServiceName))); err != nil {
			return nil, err
		}
	}
	limits := sdk.NewSpanLimits()
	if limits.AttributeValueLengthLimit < 0 {
		limits.AttributeValueLengthLimit = valueLimit
	}
	batch := []sdk.BatchSpanProcessorOption{sdk.WithExportTimeout(set.timeout)}
	if set.queue > 0 {
		batch = append(batch, sdk.WithMaxQueueSize(set.queue), sdk.WithMaxExportBatchSize(min(set.queue, sdk.DefaultMaxExportBatchSize)))
	}
	if os.Getenv("OTEL_BSP_SCHEDULE_DELAY") == "" {
		batch = append(batch, sdk.WithBatchTimeout(batchDelay))
	}
	t := &Tracer{sampler: set.sampler, client: client, endpoint: set.endpoint}
	t.provider = sdk.NewTracerProvider(
		sdk.WithSampler(sdk.AlwaysSample()), // a request that is not recorded does not come here
		sdk.WithIDGenerator(ids{}),
		sdk.WithRawSpanLimits(limits),
		sdk.WithResource(about),
		sdk.WithBatcher(&reporter{exporter: exporter, log: log}, batch...),
	)
	t.tracer = t.provider.Tracer("github.com/pagi-go/pagi-bridge")
	return t, nil
}

// Endpoint returns the URL to which the traces go. It has no secrets.
func (t *Tracer) Endpoint() string { return t.endpoint }

// Share tells which requests are recorded.
func (t *Tracer) Share() string { return t.sampler.String() }

// Close sends what waits, and ends the Tracer. It takes no longer than five seconds. Later calls do nothing.
func (t *Tracer) Close() error {
	if t == nil {
		return nil
	}
	t.once.Do(func() { close(t.client.ending) })
	ctx, cancel := context.WithTimeout(context.Background(), flushLimit)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("tracing: the last spans are lost: %w", err)
	}
	return nil
}

// idsKey is the key of the context value with the ids of the next span.
type idsKey struct{}

// reserved are the ids of a span that is about to start.
type reserved struct {
	trace trace.TraceID
	span  trace.SpanID
}

// with returns a context for starting a span with these ids. No other span must be started with it.
func (r reserved) with(ctx context.Context) context.Context {
	return context.WithValue(ctx, idsKey{}, r)
}

// ids is the sdk.IDGenerator: it gives spans the ids that were reserved for them.
type ids struct{}

// NewIDs implements sdk.IDGenerator.
func (ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	if r, is := ctx.Value(idsKey{}).(reserved); is {
		return r.trace, r.span
	}
	return newTraceID(), newSpanID()
}

// NewSpanID implements sdk.IDGenerator.
func (ids) NewSpanID(ctx context.Context, _ trace.TraceID) trace.SpanID {
	if r, is := ctx.Value(idsKey{}).(reserved); is {
		return r.span
	}
	return newSpanID()
}
