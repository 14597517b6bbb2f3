package tracing

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/internal/tracing/tracingtest"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/pagi/nethttp"
)

const (
	traceID  = "0af7651916cd43dd8448eb211c80319c"
	spanID   = "b7ad6b7169203331"
	recorded = "00-" + traceID + "-" + spanID + "-01"
	passed   = "00-" + traceID + "-" + spanID + "-00"
)

func TestTraceparent(t *testing.T) {
	for text, want := range map[string]string{
		recorded:                                                recorded,
		passed:                                                  passed,
		" " + recorded + "\t":                                   recorded,
		"00-" + traceID + "-" + spanID + "-ff":                  recorded, // bits to come are not taken for granted
		"00-" + traceID + "-" + spanID + "-fe":                  passed,
		"cc-" + traceID + "-" + spanID + "-01":                  recorded, // a later version
		"cc-" + traceID + "-" + spanID + "-01-what":             recorded,
		"cc-" + traceID + "-" + spanID + "-01.what":             "",
		"cc-" + traceID + "-" + spanID + "-01what":              "",
		"ff-" + traceID + "-" + spanID + "-01":                  "",
		recorded + "-":                                          "",
		recorded + "-what":                                      "",
		"0-" + traceID + "-" + spanID + "-01":                   "",
		"00-" + strings.ToUpper(traceID) + "-" + spanID + "-01": "",
		"00-" + traceID + "-" + strings.ToUpper(spanID) + "-01": "",
		"0A-" + traceID + "-" + spanID + "-01":                  "",
		"00-" + strings.Repeat("0", 32) + "-" + spanID + "-01":  "",
		"00-" + traceID + "-" + strings.Repeat("0", 16) + "-01": "",
		"00-" + traceID + "-" + spanID + "-0":                   "",
		"00-" + traceID + "-" + spanID + "-0x":                  "",
		"00-" + traceID + "-" + spanID + "_01":                  "",
		"00_" + traceID + "-" + spanID + "-01":                  "",
		"00-" + traceID + spanID + "-01":                        "",
		"00-" + traceID[1:] + "g-" + spanID + "-01":             "",
		"":                      "",
		"-":                     "",
		strings.Repeat("-", 55): "",
	} {
		p, said, ok := find(pagi.Headers{{Name: "host", Value: "x"}, {Name: "traceparent", Value: text}})
		got := ""
		if ok {
			got = traceparent(p.trace, p.span, p.isSampled())
		}
		if got != want || !said {
			t.Errorf("%q is read as %q, want %q", text, got, want)
		}
	}
	for what, headers := range map[string]pagi.Headers{
		"two traceparents":        pagi.NewHeaders("traceparent", recorded, "traceparent", recorded),
		"three of them":           pagi.NewHeaders("traceparent", "x", "traceparent", "y", "traceparent", recorded),
		"a tracestate on its own": pagi.NewHeaders("tracestate", "a=1"),
	} {
		if _, said, ok := find(headers); ok || !said {
			t.Errorf("%s: said %v, ok %v", what, said, ok)
		}
	}
	if _, said, ok := find(pagi.NewHeaders("host", "x")); said || ok {
		t.Error("a trace context without headers of one")
	}
}

func FuzzTraceparent(f *testing.F) {
	for _, text := range []string{recorded, passed, "cc-" + traceID + "-" + spanID + "-01-x", "", "00-"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var p, again parent
		if p.parse(text) && (!again.parse(traceparent(p.trace, p.span, p.isSampled())) || again != p) {
			t.Errorf("%q is %+v, and %+v when it is read again", text, p, again)
		}
	})
}

// tracer returns a Tracer that sends to the collector, with Close as its flush.
func tracer(t testing.TB, o Options, c *tracingtest.Collector) *Tracer {
	t.Helper()
	if c != nil {
		o.Endpoint = c.URL
	}
	made, err := New(&o, Process{Version: "1.2.3", Environment: "testing"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = made.Close() })
	return made
}

func share(f float64) *float64 { return &f }

// seen is a request as the application has seen it.
type seen struct {
	headers pagi.Headers
	trace   pagi.Trace
	span    trace.SpanContext
}

// ask sends a request with these headers through the Tracer, by package engine, and returns what the application has seen.
func ask(t testing.TB, tr *Tracer, peers Peers, method, target string, headers ...string) (s seen) {
	t.Helper()
	app := tr.App(pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		s = seen{scope.Headers.Clone(), scope.Trace(), trace.SpanContextFromContext(ctx)}
		scope.Notes.Add(pagi.NewMountNote("/app"))
		scope.Notes.Add(pagi.NewLogNote("request_id", "id-1"))
		if strings.HasPrefix(scope.Path, "/fails") {
			return errors.New("it has failed \xff")
		}
		if err := send(ctx, pagi.HTTPResponseStart{Status: 201}); err != nil {
			return err
		}
		return send(ctx, pagi.HTTPResponseBody{Body: []byte("hello")})
	}), peers)
	r := httptest.NewRequest(method, target, nil)
	r.RemoteAddr = "192.0.2.7:4711"
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	serve(app, tr, r)
	return s
}

// serve has an application answer a request, and returns when it is done.
func serve(app pagi.App, tr *Tracer, r *http.Request) {
	done := make(chan struct{})
	h := &engine.Handler{App: app, Logger: slog.New(slog.DiscardHandler), Observers: []engine.Observer{tr.Observer(Peers{}), engine.ObserverFunc(func(*engine.Record) { close(done) })}}
	(&nethttp.Adapter{Engine: h}).ServeHTTP(httptest.NewRecorder(), r)
	<-done
}

func TestWhichRequestsAreRecorded(t *testing.T) {
	c := tracingtest.New(t)
	all := Peers{all: true}
	some, err := (&Options{Trust: []string{"192.0.2.0/24"}}).Peers(nil, false)
	if err != nil {
		t.Fatal(err)
	}
	others, _ := (&Options{Trust: []string{"198.51.100.1", "unix"}}).Peers(nil, false)
	const ours = "ours"
	for name, tc := range map[string]struct {
		o        Options
		env      map[string]string
		peers    Peers
		headers  []string
		recorded bool
		trace    string // of the header that the application gets: ours, the same header, or ""
		state    string
	}{
		"nothing comes, all are recorded":              {recorded: true, trace: ours},
		"nothing comes, none is recorded":              {o: Options{Sample: share(0)}},
		"a recorded parent":                            {o: Options{Sample: share(0)}, peers: all, headers: []string{"traceparent", recorded}, recorded: true, trace: traceID},
		"a parent in a trusted network":                {o: Options{Sample: share(0)}, peers: some, headers: []string{"traceparent", recorded}, recorded: true, trace: traceID},
		"a parent that is not recorded":                {peers: all, headers: []string{"traceparent", passed, "tracestate", "a=1"}, trace: passed, state: "a=1"},
		"a recorded parent of a stranger":              {o: Options{Sample: share(0)}, peers: others, headers: []string{"traceparent", recorded, "tracestate", "a=1"}},
		"a stranger's trace is not gone on with":       {peers: others, headers: []string{"traceparent", recorded, "tracestate", "a=1"}, recorded: true, trace: ours},
		"no peer is trusted":                           {headers: []string{"traceparent", passed}, recorded: true, trace: ours},
		"state goes on":                                {peers: all, headers: []string{"traceparent", recorded, "tracestate", "a=1", "tracestate", "b=2"}, recorded: true, trace: traceID, state: "a=1,b=2"},
		"a state that is none does not":                {peers: all, headers: []string{"traceparent", recorded, "tracestate", "a=1,a=1, =,"}, recorded: true, trace: traceID},
		"a malformed parent":                           {peers: all, headers: []string{"traceparent", "00-x", "tracestate", "a=1"}, recorded: true, trace: ours},
		"a malformed parent, none is recorded":         {o: Options{Sample: share(0)}, peers: all, headers: []string{"traceparent", "00-x", "tracestate", "a=1"}},
		"two parents":                                  {peers: all, headers: []string{"traceparent", recorded, "traceparent", recorded}, recorded: true, trace: ours},
		"state without a parent":                       {peers: all, headers: []string{"tracestate", "a=1"}, recorded: true, trace: ours},
		"the environment: always_off behind a parent":  {env: map[string]string{"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, peers: all, headers: []string{"traceparent", recorded}, recorded: true, trace: traceID},
		"the environment: always_off":                  {env: map[string]string{"OTEL_TRACES_SAMPLER": "always_off"}, peers: all, headers: []string{"traceparent", recorded}, trace: "00-" + traceID},
		"the environment: always_on":                   {env: map[string]string{"OTEL_TRACES_SAMPLER": "always_on"}, peers: all, headers: []string{"traceparent", passed}, recorded: true, trace: traceID},
		"the environment: a share":                     {env: map[string]string{"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}},
		"the site file goes before the environment":    {o: Options{Sample: share(1)}, env: map[string]string{"OTEL_TRACES_SAMPLER": "always_off"}, recorded: true, trace: ours},
		"the share of traces is that of OpenTelemetry": {env: map[string]string{"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.0349"}, peers: all, headers: []string{"traceparent", passed}, trace: passed},
		"and a little more":                            {env: map[string]string{"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.0351"}, peers: all, headers: []string{"traceparent", passed}, trace: passed},
	} {
		t.Run(name, func(t *testing.T) {
			for name, value := range tc.env {
				t.Setenv(name, value)
			}
			s := ask(t, tracer(t, tc.o, c), tc.peers, "GET", "/", tc.headers...)
			if (s.trace != nil) != tc.recorded || s.span.IsSampled() != tc.recorded {
				t.Errorf("recorded: %v, in the context: %v", s.trace, s.span)
			}
			got := s.headers.Joined("traceparent")
			p, _, ok := find(s.headers)
			switch {
			case tc.trace == "":
				if got != "" {
					t.Errorf("the application gets %q", got)
				}
			case !ok:
				t.Errorf("the application gets %q", got)
			case tc.recorded && (s.span.SpanID() != p.span || s.span.TraceID() != p.trace || !p.isSampled() || s.trace.TraceID() != p.trace.String()):
				t.Errorf("the application gets %q, its context has %v", got, s.span)
			case tc.trace == ours && p.trace.String() == traceID, tc.trace == traceID && (p.trace.String() != traceID || p.span.String() == spanID):
				t.Errorf("the application gets %q", got)
			case !tc.recorded && !strings.HasPrefix(got, tc.trace), !tc.recorded && p.isSampled():
				t.Errorf("the application gets %q, want %q", got, tc.trace)
			}
			if state := s.headers.Joined("tracestate"); state != tc.state {
				t.Errorf("tracestate is %q, want %q", state, tc.state)
			}
		})
	}
}

func TestAShareIsRecorded(t *testing.T) {
	s := newSampler(0.25, true)
	n := 0
	for range 20000 {
		if s.decide(&parent{}, false) {
			n++
		}
	}
	if n < 4500 || n > 5500 {
		t.Errorf("%d of 20000", n)
	}
	for _, tc := range []struct {
		share float64
		low   string // the second half of the id
		takes bool
	}{{0.5, "7fffffffffffffff", true}, {0.5, "8000000000000001", false}, {1, "ffffffffffffffff", true}, {0, "0000000000000001", false}} {
		id, err := trace.TraceIDFromHex("00000000000000ff" + tc.low)
		if err != nil {
			t.Fatal(err)
		}
		if s := newSampler(tc.share, false); s.takes(id) != tc.takes {
			t.Errorf("%v of %v", tc.share, id)
		}
	}
}

func TestTheSpanOfARequest(t *testing.T) {
	c := tracingtest.New(t)
	tr := tracer(t, Options{ServiceName: "shop"}, c)
	ask(t, tr, Peers{all: true}, "POST", "http://example.org:8080/app/page%20one?secret=1", "traceparent", recorded, "tracestate", "a=1", "user-agent", "tests \xff")
	ask(t, tr, Peers{}, "BREW", "http://[2001:db8::1]/fails")
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	spans := c.Await(2)
	s := tracingtest.Only(t, spans, "POST /app")
	if s.Trace != traceID || s.Parent != spanID || s.State != "a=1" || s.Kind != "SERVER" || s.Failed || s.End < s.Begin {
		t.Errorf("%+v", s)
	}
	has(t, s.Attributes, map[string]string{
		"http.request.method": "POST", "url.path": "/app/page%20one", "url.scheme": "http", "http.route": "/app", "http.response.status_code": "201",
		"network.protocol.name": "http", "network.protocol.version": "1.1", "server.address": "example.org", "server.port": "8080",
		"client.address": "192.0.2.7", "network.peer.address": "192.0.2.7", "user_agent.original": "tests \uFFFD", "pagi.request_id": "id-1",
		"http.response.body.size": "5",
	})
	for name, value := range map[string]string{"service.name": "shop", "service.version": "1.2.3", "deployment.environment.name": "testing", "telemetry.sdk.name": "opentelemetry"} {
		if s.Resource[name] != value {
			t.Errorf("the resource has %s %q", name, s.Resource[name])
		}
	}
	s = tracingtest.Only(t, spans, "HTTP /app")
	if s.Parent != "" || !s.Failed || s.Why != "it has failed \uFFFD" {
		t.Errorf("%+v", s)
	}
	has(t, s.Attributes, map[string]string{
		"http.request.method": "_OTHER", "http.request.method_original": "BREW", "url.path": "/fails", "url.scheme": "http", "http.route": "/app",
		"http.response.status_code": "500", "error.type": "500", "network.protocol.name": "http", "network.protocol.version": "1.1",
		"server.address": "2001:db8::1", "client.address": "192.0.2.7", "network.peer.address": "192.0.2.7", "pagi.request_id": "id-1",
		"pagi.disconnect_reason": "server_error", "http.response.body.size": "22",
	})
}

func has(t *testing.T, got, want map[string]string) {
	t.Helper()
	for name, value := range want {
		if got[name] != value {
			t.Errorf("%s is %q, want %q", name, got[name], value)
		}
	}
	for name, value := range got {
		if _, is := want[name]; !is {
			t.Errorf("%s is %q, and should not be there", name, value)
		}
	}
}

func TestSpansBelowThatOfARequest(t *testing.T) {
	c := tracingtest.New(t)
	tr := tracer(t, Options{}, c)
	s := ask(t, tr, Peers{}, "GET", "/")
	begin := time.Now()
	work := s.trace.Start("work", begin)
	work.Set(slog.Int("process.pid", 7), slog.String("text", "\xff"), slog.Bool("yes", true), slog.Float64("half", 0.5), slog.Duration("long", time.Second))
	work.SetClient()
	work.Begin(begin.Add(time.Second))
	work.End(begin.Add(3*time.Second), errors.New("no"))
	work.End(begin.Add(9*time.Second), nil)
	if err := errors.Join(tr.Close(), tr.Close()); err != nil {
		t.Fatal(err)
	}
	spans := c.Await(2)
	server, got := tracingtest.Only(t, spans, "GET /app"), tracingtest.Only(t, spans, "work")
	if got.Parent != server.ID || got.Trace != server.Trace || got.Kind != "CLIENT" || !got.Failed || got.Why != "no" || got.End-got.Begin != 2e9 {
		t.Errorf("%+v below %+v", got, server)
	}
	if want := "00-" + got.Trace + "-" + got.ID + "-01"; work.Traceparent() != want {
		t.Errorf("%s, want %s", work.Traceparent(), want)
	}
	has(t, got.Attributes, map[string]string{"process.pid": "7", "text": "\uFFFD", "yes": "true", "half": "0.5", "long": "1s"})
	if len(c.Spans()) != 2 {
		t.Errorf("%+v", c.Spans())
	}
}

// Code that knows OpenTelemetry has its spans in the trace: by the context, and by the provider of the span in it.
func TestAnApplicationsOwnSpans(t *testing.T) {
	c := tracingtest.New(t)
	tr := tracer(t, Options{}, c)
	app := tr.App(pagi.AppFunc(func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		span := trace.SpanFromContext(ctx)
		_, own := span.TracerProvider().Tracer("shop").Start(ctx, "own work")
		own.End()
		if err := send(ctx, pagi.HTTPResponseStart{Status: 200}); err != nil {
			return err
		}
		return send(ctx, pagi.HTTPResponseBody{})
	}), Peers{})
	serve(app, tr, httptest.NewRequest("GET", "/", nil))
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	spans := c.Await(2)
	if server, own := tracingtest.Only(t, spans, "GET"), tracingtest.Only(t, spans, "own work"); own.Parent != server.ID || own.ID == server.ID {
		t.Errorf("%+v below %+v", own, server)
	}
}

func TestManyRequestsAtOnce(t *testing.T) {
	const clients, each = 20, 50
	c := tracingtest.New(t)
	tr := tracer(t, Options{MaxQueue: 10 * clients * each}, c)
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			for range each {
				s := ask(t, tr, Peers{}, "GET", "/")
				s.trace.Start("work", time.Now()).End(time.Now(), nil)
			}
		})
	}
	all.Wait()
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	spans := c.Await(2 * clients * each)
	servers := map[string]string{}
	for _, s := range spans {
		if s.Kind == "SERVER" {
			servers[s.ID] = s.Trace
		}
	}
	if len(servers) != clients*each || len(spans) != 2*clients*each {
		t.Errorf("%d spans of requests, %d in all", len(servers), len(spans))
	}
	for _, s := range spans {
		if s.Kind != "SERVER" && servers[s.Parent] != s.Trace {
			t.Errorf("%+v has no parent", s)
		}
	}
}

// A request that the handler or the server turns down does not come to App. It has a span all the same, where its headers are known.
func TestTheSpanOfARequestThatIsTurnedDown(t *testing.T) {
	large := func(r *http.Request) { r.ContentLength = 100 }
	handshake := func(r *http.Request) {
		r.Header.Set("Connection", "upgrade")
		r.Header.Set("Upgrade", "websocket")
	}
	for name, tc := range map[string]struct {
		o       Options
		peers   Peers
		method  string
		change  func(*http.Request)
		headers []string
		status  string // of the span; "": there is none
		parent  string
	}{
		"a body that is too large":                  {method: "POST", change: large, status: "413"},
		"with a parent":                             {o: Options{Sample: share(0)}, peers: Peers{all: true}, method: "POST", change: large, headers: []string{"traceparent", recorded, "tracestate", "a=1"}, status: "413", parent: spanID},
		"with a parent that is not recorded":        {peers: Peers{all: true}, method: "POST", change: large, headers: []string{"traceparent", passed}},
		"with a parent that a stranger names":       {method: "POST", change: large, headers: []string{"traceparent", recorded}, status: "413"},
		"with two parents":                          {peers: Peers{all: true}, method: "POST", change: large, headers: []string{"traceparent", recorded, "traceparent", recorded}, status: "413"},
		"none is recorded":                          {o: Options{Sample: share(0)}, method: "POST", change: large},
		"too many headers":                          {method: "GET", headers: []string{"a", "1", "b", "2", "c", "3", "d", "4", "e", "5"}, status: "431"},
		"a handshake of no known version":           {method: "GET", change: handshake, status: "426"},
		"a method that is not for servers like it":  {method: "CONNECT", status: "501"},
		"a request that comes to the application":   {method: "GET", status: "204"},
		"the same, not recorded because its parent": {peers: Peers{all: true}, method: "GET", headers: []string{"traceparent", passed}},
	} {
		t.Run(name, func(t *testing.T) {
			c := tracingtest.New(t)
			tr := tracer(t, tc.o, c)
			app := tr.App(pagi.AppFunc(func(ctx context.Context, _ *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
				return errors.Join(send(ctx, pagi.HTTPResponseStart{Status: 204}), send(ctx, pagi.HTTPResponseBody{}))
			}), tc.peers)
			h := &engine.Handler{App: app, Logger: slog.New(slog.DiscardHandler), Limits: engine.Limits{MaxBodySize: 10, MaxHeaderCount: 5}, WebSocket: noWebSocket{}}
			done := make(chan struct{}) // the application may go on when ServeHTTP has returned
			h.Observers = []engine.Observer{tr.Observer(tc.peers), engine.ObserverFunc(func(*engine.Record) { close(done) })}
			r := httptest.NewRequest(tc.method, "http://example.org/page?secret", nil)
			for i := 0; i < len(tc.headers); i += 2 {
				r.Header.Add(tc.headers[i], tc.headers[i+1])
			}
			if tc.change != nil {
				tc.change(r)
			}
			(&nethttp.Adapter{Engine: h}).ServeHTTP(httptest.NewRecorder(), r)
			testkit.Await(t, done)
			wantSpan(t, tr, c, tc.method, tc.status, tc.parent)
		})
	}
}

// noWebSocket completes no handshake.
type noWebSocket struct{}

func (noWebSocket) Upgrade(engine.Stream, *http.Request, *pagi.Scope, pagi.WebSocketAccept, engine.WebSocketHooks) (engine.WebSocketConn, error) {
	return nil, errors.New("no handshake is completed here")
}

// The server itself refuses heads. Over HTTP/2 it knows their headers.
func TestTheSpanOfAHeadThatIsRefused(t *testing.T) {
	header := http.Header{"Traceparent": {recorded}}
	for name, tc := range map[string]struct {
		request *http.Request
		status  string
	}{
		"over HTTP/1":          {&http.Request{Method: "GET", RequestURI: "/"}, ""},
		"a connection refused": {&http.Request{}, ""},
		"over HTTP/2":          {&http.Request{Method: "GET", RequestURI: "/", ProtoMajor: 2, Header: header}, "431"},
	} {
		t.Run(name, func(t *testing.T) {
			c := tracingtest.New(t)
			tr := tracer(t, Options{}, c)
			begin := time.Now().Add(-time.Second)
			tr.Observer(Peers{all: true}).RequestDone(&engine.Record{Request: tc.request, Status: 431, Begin: begin, Duration: time.Second})
			wantSpan(t, tr, c, "GET", tc.status, spanID)
		})
	}
}

// wantSpan closes a tracer and looks at the only span of it; there must be none where status is "".
func wantSpan(t *testing.T, tr *Tracer, c *tracingtest.Collector, method, status, parent string) {
	t.Helper()
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	if status == "" {
		if all := c.Spans(); len(all) > 0 {
			t.Errorf("there is a span: %+v", all)
		}
		return
	}
	spans := c.Await(1)
	s := spans[0]
	if len(spans) != 1 || s.Name != method || s.Kind != "SERVER" || s.Parent != parent || s.Attributes["http.response.status_code"] != status || s.End < s.Begin {
		t.Errorf("%+v, want a %s with %s and the parent %q", spans, method, status, parent)
	}
}

// A request that is not recorded costs nothing, and neither does one of a site without tracing.
func TestARequestThatIsNotRecordedAllocatesNothing(t *testing.T) {
	tr := tracer(t, Options{Endpoint: "http://127.0.0.1:1", Sample: share(1e-9)}, nil)
	app := tr.App(pagi.AppFunc(func(_ context.Context, scope *pagi.Scope, _ pagi.Receive, _ pagi.Send) error {
		if scope.Trace() != nil {
			return errors.New("it is recorded")
		}
		return nil
	}), Peers{all: true})
	for what, headers := range map[string]pagi.Headers{
		"without a parent":                   pagi.NewHeaders("host", "example.org", "accept", "*/*", "user-agent", "tests"),
		"with a parent that is not recorded": pagi.NewHeaders("host", "example.org", "traceparent", passed, "tracestate", "a=1"),
	} {
		scope := &pagi.Scope{Type: pagi.TypeHTTP, Headers: headers, Notes: &pagi.LogNotes{}, Client: pagi.Addr{Host: "192.0.2.1"}}
		var err error
		if n := testing.AllocsPerRun(1000, func() { err = errors.Join(err, app.Serve(t.Context(), scope, nil, nil)) }); n != 0 || err != nil {
			t.Errorf("%s: %v allocations, %v", what, n, err)
		}
	}
}

// The way of a whole request through package engine allocates as much with a Tracer as without, as long as nothing is recorded.
func TestTheWayOfARequestAllocatesNothingMore(t *testing.T) {
	tr := tracer(t, Options{Endpoint: "http://127.0.0.1:1", Sample: share(1e-9)}, nil)
	next := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
		if err := send(ctx, pagi.HTTPResponseStart{Status: 204}); err != nil {
			return err
		}
		return send(ctx, pagi.HTTPResponseBody{})
	})
	count := func(app pagi.App, observers ...engine.Observer) float64 {
		adapter := &nethttp.Adapter{Engine: &engine.Handler{App: app, Observers: observers}}
		r := httptest.NewRequest("GET", "/", nil)
		return testing.AllocsPerRun(2000, func() { adapter.ServeHTTP(httptest.NewRecorder(), r) })
	}
	without := count(next, engine.ObserverFunc(func(*engine.Record) {}))
	with := count(tr.App(next, Peers{all: true}), engine.ObserverFunc(func(*engine.Record) {}), tr.Observer(Peers{all: true}))
	if with > without {
		t.Errorf("%v allocations with a Tracer, %v without", with, without)
	}
}

func TestAFailureIsToldOnceAMinute(t *testing.T) {
	for name, tc := range map[string]struct {
		statuses []int
		body     []byte
		told     string
		taken    int
		attempts int
	}{
		"a refusal":            {statuses: []int{400}, told: "400 Bad Request", attempts: 1},
		"a moved collector":    {statuses: []int{307}, told: "307 Temporary Redirect", attempts: 1},
		"a busy one recovers":  {statuses: []int{503, 429}, taken: 1, attempts: 3},
		"some are not taken":   {body: protowire.AppendBytes(protowire.AppendTag(nil, 1, protowire.BytesType), partial(1, "too old")), told: "too old", taken: 1, attempts: 1},
		"an answer of no form": {body: []byte("\xff\xff\xff"), taken: 1, attempts: 1},
	} {
		t.Run(name, func(t *testing.T) {
			c, log := tracingtest.New(t), &testkit.Log{}
			c.Answer(tc.body, tc.statuses...)
			t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
			tr, err := New(&Options{Endpoint: c.URL}, Process{}, slog.New(slog.NewTextHandler(log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			ask(t, tr, Peers{}, "GET", "/")
			testkit.Eventually(t, "the attempts", func() bool { return len(c.Headers()) == tc.attempts })
			if err := tr.Close(); err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(log.String(), "spans cannot be delivered"); (n == 1) != (tc.told != "") || !strings.Contains(log.String(), tc.told) || len(c.Spans()) != tc.taken {
				t.Errorf("%d spans, the log: %s", len(c.Spans()), log)
			}
		})
	}
}

func partial(n uint64, why string) []byte {
	b := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), n)
	return protowire.AppendString(protowire.AppendTag(b, 2, protowire.BytesType), why)
}

// A collector that is away, or does not answer, holds up neither requests nor the end, and fills neither the log nor memory.
func TestWithoutACollector(t *testing.T) {
	release := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // as the client ends it
		<-release
	}))
	defer silent.Close()
	defer close(release)
	for name, tc := range map[string]struct {
		url  string
		most time.Duration
	}{"away": {"http://127.0.0.1:1", 20 * time.Second}, "silent": {silent.URL, flushLimit + 20*time.Second}} {
		t.Run(name, func(t *testing.T) {
			log := &testkit.Log{}
			t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
			tr, err := New(&Options{Endpoint: tc.url, MaxQueue: 100, Timeout: 2 * time.Minute}, Process{}, slog.New(slog.NewTextHandler(log, nil)))
			if err != nil {
				t.Fatal(err)
			}
			begin := time.Now()
			for range 2000 {
				ask(t, tr, Peers{}, "GET", "/")
			}
			if took := time.Since(begin); took > 30*time.Second {
				t.Errorf("the requests took %v", took)
			}
			begin = time.Now()
			err = tr.Close()
			if took := time.Since(begin); took > tc.most {
				t.Errorf("the end took %v: %v", took, err)
			}
			if n := strings.Count(log.String(), "\n"); n > 3 || n == 0 && err == nil {
				t.Errorf("the log: %s", log)
			}
		})
	}
}

func TestOptions(t *testing.T) {
	ca := testkit.Tree(t, map[string]string{"none.pem": "no certificate"}) + "/none.pem"
	for name, tc := range map[string]struct {
		o    Options
		env  []string
		want string // of the error; "" for none
	}{
		"nothing":                {o: Options{Given: true}},
		"an endpoint of gRPC":    {o: Options{Endpoint: "localhost:4317"}, want: "tracing.endpoint: must be the URL of a collector"},
		"a password in it":       {o: Options{Endpoint: "http://a:b@localhost"}, want: "tracing.endpoint"},
		"more than all":          {o: Options{Given: true, Sample: share(1.5)}, want: "tracing.sample: must be from 0 to 1, is 1.5"},
		"a network that is none": {o: Options{Given: true, Trust: []string{"10.0.0.0/99"}}, want: "tracing.trust"},
		"words with others":      {o: Options{Given: true, Trust: []string{"true", "10.0.0.1"}}, want: "tracing.trust"},
		"a header of two lines":  {o: Options{Given: true, Headers: map[string]string{"a": "b\r\nc: d"}}, want: "tracing.headers"},
		"negative":               {o: Options{Given: true, MaxQueue: -1, Timeout: -1}, want: "tracing.max_queue: must not be negative, is -1"},
		"no certificates":        {o: Options{Given: true, CA: ca}, want: "tracing.ca"},
		"the protocol gRPC":      {o: Options{Given: true}, env: []string{"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"}, want: "OTEL_EXPORTER_OTLP_PROTOCOL is \"grpc\"; only http/protobuf is spoken"},
		"a sampler":              {o: Options{Given: true}, env: []string{"OTEL_TRACES_SAMPLER", "jaeger_remote"}, want: "OTEL_TRACES_SAMPLER must be"},
		"its argument":           {o: Options{Given: true}, env: []string{"OTEL_TRACES_SAMPLER", "traceidratio", "OTEL_TRACES_SAMPLER_ARG", "10%"}, want: "OTEL_TRACES_SAMPLER_ARG must be from 0 to 1"},
		"headers":                {o: Options{Given: true}, env: []string{"OTEL_EXPORTER_OTLP_HEADERS", "a"}, want: "OTEL_EXPORTER_OTLP_HEADERS must be name=value"},
		"a time":                 {o: Options{Given: true}, env: []string{"OTEL_EXPORTER_OTLP_TIMEOUT", "10s"}, want: "OTEL_EXPORTER_OTLP_TIMEOUT must be a number of milliseconds"},
		"not on":                 {env: []string{"OTEL_TRACES_SAMPLER", "jaeger_remote"}},
	} {
		t.Run(name, func(t *testing.T) {
			for i := 0; i < len(tc.env); i += 2 {
				t.Setenv(tc.env[i], tc.env[i+1])
			}
			err := tc.o.Check()
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}

func TestTheEnvironment(t *testing.T) {
	c := tracingtest.New(t)
	for i, env := range []map[string]string{
		{"OTEL_EXPORTER_OTLP_ENDPOINT": c.URL, "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20one,x-two=2", "OTEL_SERVICE_NAME": "from-env", "OTEL_RESOURCE_ATTRIBUTES": "team=shop,service.name=no"},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": c.URL + "/v1/traces", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_RESOURCE_ATTRIBUTES": "service.name=from-env,team=shop",
			"OTEL_EXPORTER_OTLP_COMPRESSION": "gzip", "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "authorization=Bearer one,x-two=2"},
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			for name, value := range env {
				t.Setenv(name, value)
			}
			tr := tracer(t, Options{Given: true}, nil)
			before := len(c.Spans())
			ask(t, tr, Peers{}, "GET", "/")
			if err := tr.Close(); err != nil {
				t.Fatal(err)
			}
			s := c.Await(before + 1)[before]
			if s.Resource["service.name"] != "from-env" || s.Resource["team"] != "shop" {
				t.Errorf("%v", s.Resource)
			}
			if h := c.Headers()[len(c.Headers())-1]; h.Get("Authorization") != "Bearer one" || h.Get("X-Two") != "2" {
				t.Errorf("%v", h)
			}
		})
	}
	t.Run("turned off", func(t *testing.T) {
		t.Setenv("OTEL_SDK_DISABLED", "true")
		if tr := tracer(t, Options{}, c); tr != nil {
			t.Error("it is on")
		}
	})
	t.Run("the default", func(t *testing.T) {
		set, err := (&Options{Given: true}).resolve()
		if err != nil || set.endpoint != "http://localhost:4318/v1/traces" || set.service != "pagi-bridge" || set.timeout != 10*time.Second || set.sampler != newSampler(1, true) {
			t.Errorf("%+v, %v", set, err)
		}
	})
}

func TestPeers(t *testing.T) {
	for name, tc := range map[string]struct {
		trust   []string
		proxies []string
		all     bool
		has     []string
	}{
		"no proxies":            {},
		"proxies":               {proxies: []string{"127.0.0.1", "unix"}, has: []string{"127.0.0.1", "", "/run/x"}},
		"every peer":            {all: true, has: []string{"127.0.0.1", "", "192.0.2.1"}},
		"proxies by their word": {trust: []string{"proxies"}, proxies: []string{"127.0.0.1"}, has: []string{"127.0.0.1"}},
		"all":                   {trust: []string{"true"}, has: []string{"127.0.0.1", "", "192.0.2.1"}},
		"none":                  {trust: []string{"false"}, proxies: []string{"127.0.0.1"}, all: true},
		"a network":             {trust: []string{"192.0.2.0/24"}, proxies: []string{"127.0.0.1"}, all: true, has: []string{"192.0.2.1"}},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := (&Options{Trust: tc.trust}).Peers(tc.proxies, tc.all)
			if err != nil {
				t.Fatal(err)
			}
			for _, host := range []string{"127.0.0.1", "", "/run/x", "192.0.2.1", "198.51.100.1"} {
				want := slices.Contains(tc.has, host) || len(tc.has) == 3 && tc.has[2] == "192.0.2.1"
				if p.has(host) != want {
					t.Errorf("%q: %v", host, !want)
				}
			}
		})
	}
}

func BenchmarkRequest(b *testing.B) {
	next := pagi.AppFunc(func(_ context.Context, scope *pagi.Scope, _ pagi.Receive, _ pagi.Send) error {
		if t := scope.Trace(); t != nil {
			t.Start("work", time.Now()).End(time.Now(), nil)
		}
		return nil
	})
	c := tracingtest.New(b)
	for name, tr := range map[string]*Tracer{
		"off": nil, "not recorded": tracer(b, Options{Sample: share(1e-9)}, c), "recorded": tracer(b, Options{}, c),
	} {
		b.Run(name, func(b *testing.B) {
			app := tr.App(next, Peers{})
			scope := &pagi.Scope{Type: pagi.TypeHTTP, Headers: pagi.NewHeaders("host", "example.org", "accept", "*/*", "user-agent", "tests"), Notes: &pagi.LogNotes{}}
			b.ReportAllocs()
			for b.Loop() {
				if name == "recorded" {
					scope.Notes = &pagi.LogNotes{}
				}
				if err := app.Serve(b.Context(), scope, nil, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
