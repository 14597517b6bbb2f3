package tracing

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/pagi-go/pagi-bridge/internal/certpool"
)

const (
	// firstPause and longestPause are the times between attempts to deliver spans.
	firstPause   = 500 * time.Millisecond
	longestPause = 5 * time.Second
	// responseLimit is how many bytes of a collector's answer are read.
	responseLimit = 16 << 10
	// complaintPause is the shortest time between two log records about failures.
	complaintPause = time.Minute
)

// client posts spans to a collector: the client of OTLP over HTTP, in protobuf. It is here because the one of OpenTelemetry
// links gRPC's gateway. It is an otlptrace.Client.
type client struct {
	settings *settings
	http     *http.Client
	ending   chan struct{} // closed when the program ends: each batch gets one attempt more
}

func newClient(set *settings) (*client, error) {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, MaxIdleConns: 1, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute,
		TLSHandshakeTimeout: set.timeout, ResponseHeaderTimeout: set.timeout, ForceAttemptHTTP2: true, MaxResponseHeaderBytes: responseLimit,
	}
	if set.ca != "" {
		roots, err := certpool.Read(set.ca)
		if err != nil {
			return nil, err
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	return &client{set, &http.Client{
		Transport: transport,
		// Headers may be secrets, which another server must not get.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, make(chan struct{})}, nil
}

// Start implements otlptrace.Client.
func (c *client) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client.
func (c *client) Stop(context.Context) error {
	c.http.CloseIdleConnections()
	return nil
}

// UploadTraces implements otlptrace.Client. It tries until ctx ends, or the time limit is over, whatever the SDK's is.
func (c *client) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	// TracesData has the form of the message ExportTraceServiceRequest.
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans})
	if err == nil && c.settings.gzip {
		body, err = compressed(body)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, c.settings.timeout)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		last := isClosed(c.ending)
		wait, err := c.post(ctx, body)
		if err == nil || wait < 0 || last {
			return err
		}
		if wait == 0 {
			wait = pause/2 + rand.N(pause) // not all gateways at once
		}
		select {
		case <-time.After(wait):
		case <-c.ending:
		case <-ctx.Done():
			return err
		}
	}
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// post makes one attempt. wait is when another one makes sense: 0 stands for a time that the collector does not name, less
// than 0 for never.
func (c *client) post(ctx context.Context, body []byte) (wait time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.settings.endpoint, bytes.NewReader(body))
	if err != nil {
		return -1, err
	}
	for name, values := range c.settings.headers {
		req.Header[name] = values
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	req.Header.Set("User-Agent", "pagi-bridge")
	if c.settings.gzip {
		req.Header.Set("Content-Encoding", "gzip")
	}
	res, err := c.http.Do(req)
	if err != nil {
		return 0, err
	}
	answer, err := io.ReadAll(io.LimitReader(res.Body, responseLimit))
	err = errors.Join(err, res.Body.Close())
	switch {
	case res.StatusCode >= 200 && res.StatusCode < 300:
		if err != nil {
			return -1, nil // the collector has the spans
		}
		return -1, rejected(answer)
	case res.StatusCode == http.StatusTooManyRequests, res.StatusCode == http.StatusBadGateway,
		res.StatusCode == http.StatusServiceUnavailable, res.StatusCode == http.StatusGatewayTimeout:
		if seconds, err := strconv.ParseUint(res.Header.Get("Retry-After"), 10, 16); err == nil {
			wait = time.Duration(seconds) * time.Second
		}
	default:
		wait = -1
	}
	return wait, fmt.Errorf("%s has answered %s", c.settings.endpoint, res.Status)
}

func compressed(body []byte) ([]byte, error) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(body)
	err = errors.Join(err, w.Close())
	return b.Bytes(), err
}

// rejected returns the error of an ExportTraceServiceResponse by which the collector refuses some of the spans: its field 1,
// partial_success, with their number in field 1 and a text in field 2.
func rejected(answer []byte) error {
	partial, _ := field(answer, 1)
	_, n := field(partial, 1)
	if n == 0 {
		return nil
	}
	why, _ := field(partial, 2)
	return &rejectedError{spans: int(n), why: string(why[:min(len(why), errorLimit)])}
}

type rejectedError struct {
	spans int
	why   string
}

func (e *rejectedError) Error() string {
	return fmt.Sprintf("the collector has refused %d spans: %q", e.spans, e.why)
}

// field returns a field of a message of protobuf: its bytes, or its number.
func field(message []byte, number protowire.Number) (value []byte, n uint64) {
	for len(message) > 0 {
		at, kind, size := protowire.ConsumeTag(message)
		if size < 0 {
			return nil, 0
		}
		message = message[size:]
		if size = protowire.ConsumeFieldValue(at, kind, message); size < 0 {
			return nil, 0
		}
		switch {
		case at == number && kind == protowire.BytesType:
			value, _ = protowire.ConsumeBytes(message)
			return value, 0
		case at == number && kind == protowire.VarintType:
			n, _ = protowire.ConsumeVarint(message)
			return nil, n
		}
		message = message[size:]
	}
	return nil, 0
}

// reporter is a sdk.SpanExporter that logs the failures of another one, at most once a minute.
type reporter struct {
	exporter sdk.SpanExporter
	log      *slog.Logger

	mu   sync.Mutex
	told time.Time
	lost int // since then
}

// ExportSpans implements sdk.SpanExporter.
func (r *reporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	err := r.exporter.ExportSpans(ctx, spans)
	if err == nil {
		return nil
	}
	lost := len(spans)
	if some := (*rejectedError)(nil); errors.As(err, &some) {
		lost = min(some.spans, lost)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lost += lost
	if now := time.Now(); r.told.IsZero() || now.Sub(r.told) >= complaintPause {
		r.log.Warn("tracing: spans cannot be delivered and are lost", "spans", r.lost, "error", err)
		r.told, r.lost = now, 0
	}
	return nil // it is told
}

// Shutdown implements sdk.SpanExporter.
func (r *reporter) Shutdown(ctx context.Context) error {
	r.mu.Lock()
	if r.lost > 0 {
		r.log.Warn("tracing: more spans were lost", "spans", r.lost)
		r.lost = 0
	}
	r.mu.Unlock()
	return r.exporter.Shutdown(ctx)
}
