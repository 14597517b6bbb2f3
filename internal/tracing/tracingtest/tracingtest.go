// Package tracingtest is a collector of OpenTelemetry for tests: it takes spans by OTLP over HTTP and tells them.
package tracingtest

import (
	"compress/gzip"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// Span is a span as the collector has got it.
type Span struct {
	Trace, ID, Parent, State string // in hexadecimal; Parent is "" for the first span of a trace
	Name, Kind               string // Kind is SERVER, CLIENT, INTERNAL
	Failed                   bool
	Why                      string
	Begin, End               uint64            // in Unix nanoseconds
	Attributes               map[string]string // values as texts
	Resource                 map[string]string
}

// Collector is a server that takes spans. Its URL is the endpoint.
type Collector struct {
	*httptest.Server
	t testing.TB

	mu       sync.Mutex
	spans    []Span
	headers  []http.Header
	statuses []int // of the answers to come
	body     []byte
}

// New starts a collector, which ends with the test.
func New(t testing.TB) *Collector {
	c := &Collector{t: t}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

// Answer has the next requests be answered with these statuses, and their spans not be taken unless it is 200. body is that of all
// further answers.
func (c *Collector) Answer(body []byte, statuses ...int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.body, c.statuses = body, statuses
}

// ServeHTTP implements http.Handler.
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	spans, err := read(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.headers = append(c.headers, r.Header)
	status := http.StatusOK
	if len(c.statuses) > 0 {
		status, c.statuses = c.statuses[0], c.statuses[1:]
	}
	if err != nil {
		c.t.Errorf("what the collector has got: %v", err)
		status = http.StatusBadRequest
	}
	if status == http.StatusOK {
		c.spans = append(c.spans, spans...)
	}
	w.WriteHeader(status)
	_, _ = w.Write(c.body) // the client may have gone
}

func read(r *http.Request) (spans []Span, err error) {
	if r.URL.Path != "/v1/traces" || r.Method != "POST" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		return nil, fmt.Errorf("%s %s with %s", r.Method, r.URL.Path, r.Header.Get("Content-Type"))
	}
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		if body, err = gzip.NewReader(body); err != nil {
			return nil, err
		}
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	var data tracepb.TracesData
	if err := proto.Unmarshal(text, &data); err != nil {
		return nil, err
	}
	for _, resource := range data.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			for _, s := range scope.Spans {
				spans = append(spans, Span{
					Trace: hex.EncodeToString(s.TraceId), ID: hex.EncodeToString(s.SpanId), Parent: hex.EncodeToString(s.ParentSpanId), State: s.TraceState,
					Name: s.Name, Kind: strings.TrimPrefix(s.Kind.String(), "SPAN_KIND_"), Failed: s.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR,
					Why: s.GetStatus().GetMessage(), Begin: s.StartTimeUnixNano, End: s.EndTimeUnixNano,
					Attributes: texts(s.Attributes), Resource: texts(resource.GetResource().GetAttributes()),
				})
			}
		}
	}
	return spans, nil
}

func texts(list []*commonpb.KeyValue) map[string]string {
	all := map[string]string{}
	for _, a := range list {
		switch v := a.GetValue().GetValue().(type) {
		case *commonpb.AnyValue_StringValue:
			all[a.Key] = v.StringValue
		case *commonpb.AnyValue_IntValue:
			all[a.Key] = fmt.Sprint(v.IntValue)
		case *commonpb.AnyValue_BoolValue:
			all[a.Key] = fmt.Sprint(v.BoolValue)
		case *commonpb.AnyValue_DoubleValue:
			all[a.Key] = fmt.Sprint(v.DoubleValue)
		default:
			all[a.Key] = fmt.Sprintf("%T", v)
		}
	}
	return all
}

// Spans returns what the collector has taken so far.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.spans)
}

// Trace returns the spans of one trace that the collector has taken so far.
func (c *Collector) Trace(id string) []Span {
	return slices.DeleteFunc(c.Spans(), func(s Span) bool { return s.Trace != id })
}

// Headers returns the headers of the requests so far.
func (c *Collector) Headers() []http.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.headers)
}

// Await waits for n spans and returns them, in the order of their begins.
func (c *Collector) Await(n int) []Span {
	c.t.Helper()
	testkit.Eventually(c.t, fmt.Sprintf("%d spans", n), func() bool { return len(c.Spans()) >= n })
	spans := c.Spans()
	slices.SortStableFunc(spans, func(a, b Span) int { return int(int64(a.Begin) - int64(b.Begin)) })
	return spans
}

// Only returns the one span with a name that begins so.
func Only(t testing.TB, spans []Span, name string) Span {
	t.Helper()
	var found []Span
	for _, s := range spans {
		if strings.HasPrefix(s.Name, name) {
			found = append(found, s)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d spans are called %q: %+v", len(found), name, spans)
	}
	return found[0]
}
