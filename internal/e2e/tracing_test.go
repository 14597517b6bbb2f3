package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/fcgi"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/internal/tracing/tracingtest"
)

const callersSpan = "b7ad6b7169203331"

// callers counts the traces of callers.
var callers atomic.Int64

// What applications answer: the process, and what they have been told of the trace.
const (
	tracedPSGI = `sub { my $e = shift; [200, [], ["$$ $e->{HTTP_TRACEPARENT} " . ($e->{HTTP_TRACESTATE} // 'none')]] }`
	tracedCGI  = "#!/bin/sh\necho Content-Type: text/plain\necho\necho \"$$ $HTTP_TRACEPARENT ${TRACESTATE:-none}\"\n[ \"$HTTP_TRACEPARENT\" = \"$TRACEPARENT\" ] || echo \"and $TRACEPARENT\"\n"
	tracedPerl = "#!/usr/bin/perl\nuse strict;\nprint \"Content-Type: text/plain\\n\\n$$ $ENV{TRACEPARENT} \", $ENV{TRACESTATE} // 'none', \"\\n\";\n"
	tracedPAGI = `use strict;
sub {
	my ($scope, $receive, $send) = @_;
	die "Unsupported scope type: $scope->{type}\n" if $scope->{type} ne 'http';
	my %h = map { ($_->[0] => $_->[1]) } @{ $scope->{headers} };
	return $send->({ type => 'http.response.start', status => 200, headers => [] })->then(sub {
		$send->({ type => 'http.response.body', body => "$$ $h{traceparent} " . ($h{tracestate} // 'none') });
	});
}`
)

// traced starts the program with a site whose traces go to a collector.
func traced(t *testing.T, options, mounts string, files map[string]string) (*gateway, *tracingtest.Collector) {
	t.Helper()
	c := tracingtest.New(t)
	all := map[string]string{
		"site.yaml": fmt.Sprintf("listen: 127.0.0.1:0\nenvironment: deployment\naccess_log: access.log\naccess_log_format: json\n%smiddleware: [request_id]\ntracing:\n  endpoint: %s\n  trust: [127.0.0.1]\n  service_name: shop\nmounts:\n%s", options, c.URL, mounts),
	}
	for name, text := range files {
		all[name] = text
	}
	dir := isolated(t, all)
	for name := range files {
		if strings.HasPrefix(name, "cgi/") {
			if err := os.Chmod(filepath.Join(dir, name), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd := testkit.Command(dir, program, "-c", "site.yaml")
	cmd.Env = append(os.Environ(), "OTEL_BSP_SCHEDULE_DELAY=20")
	return &gateway{testkit.Start(t, cmd), t}, c
}

// called sends a request with a trace of a caller, which it returns with the answer.
func (g *gateway) called(path string) (trace, answer string) {
	g.t.Helper()
	trace = fmt.Sprintf("0af7651916cd43dd%016x", callers.Add(1))
	req := testkit.NewRequest(g.t, "GET", g.URL+path, nil)
	req.Header.Set("Traceparent", "00-"+trace+"-"+callersSpan+"-01")
	req.Header.Set("Tracestate", "vendor=1")
	res, body := testkit.Do(g.t, client, req)
	if res.StatusCode != 200 {
		g.t.Fatalf("%s: %s %s", path, res.Status, body)
	}
	return trace, strings.TrimSpace(body)
}

// The trace of a request goes on in each kind of worker, with a span for the wait and one for the work.
func TestTraces(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	for name, c := range map[string]struct {
		options, mount, path string
		module, debian       string
		kind                 string
		mode                 string
	}{
		"PSGI":                               {mount: "psgi: app.psgi, workers: 1", kind: "psgi"},
		"PSGI in the gateway's process":      {options: "isolate: none\n", mount: "psgi: app.psgi, workers: 1", kind: "psgi"},
		"PSGI, preloaded":                    {mount: "psgi: app.psgi, workers: 1, preload: true", kind: "psgi"},
		"PSGI in an event loop":              {mount: "psgi: app.psgi, workers: 1, loop: true", kind: "psgi", module: "IO::Async::Loop", debian: "libio-async-perl"},
		"PAGI":                               {mount: "perlpagi: app.pl, workers: 1", kind: "perlpagi", module: "IO::Async::Loop", debian: "libio-async-perl"},
		"PAGI in the gateway's process":      {options: "isolate: none\n", mount: "perlpagi: app.pl, workers: 1", kind: "perlpagi", module: "IO::Async::Loop", debian: "libio-async-perl"},
		"CGI":                                {mount: "cgi: cgi", path: "/sh.cgi", kind: "cgi", mode: "exec"},
		"CGI in the gateway's process":       {options: "isolate: none\n", mount: "cgi: cgi", path: "/sh.cgi", kind: "cgi", mode: "exec"},
		"CGI, compiled once":                 {mount: "cgi: cgi, mode: fork", path: "/perl.cgi", kind: "cgi", mode: "fork"},
		"CGI, compiled once, in the gateway": {options: "isolate: none\n", mount: "cgi: cgi, mode: fork", path: "/perl.cgi", kind: "cgi", mode: "fork"},
		"CGI, persistent":                    {mount: "cgi: cgi, mode: persistent", path: "/perl.cgi", kind: "cgi", mode: "persistent"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.module != "" {
				needPerl(t, c.module, c.debian)
			}
			g, collector := traced(t, c.options, "  - {path: /app, "+c.mount+"}\n", map[string]string{
				"app.psgi": tracedPSGI, "app.pl": tracedPAGI, "cgi/sh.cgi": tracedCGI, "cgi/perl.cgi": tracedPerl,
			})
			path := "/app" + c.path
			var trace, answer string
			var spans []tracingtest.Span
			testkit.Eventually(t, "a request in that mode", func() bool { // a script is compiled beside the first requests
				trace, answer = g.called(path + "?secret")
				testkit.Eventually(t, "the spans of a request", func() bool {
					spans = collector.Trace(trace)
					return len(spans) == 3
				})
				return tracingtest.Only(t, spans, c.kind).Attributes["pagi.cgi.mode"] == c.mode
			})
			server, wait, work := tracingtest.Only(t, spans, "GET /app"), tracingtest.Only(t, spans, "wait"), tracingtest.Only(t, spans, c.kind)
			if server.Kind != "SERVER" || server.Parent != callersSpan || server.State != "vendor=1" || server.Failed ||
				server.Attributes["http.route"] != "/app" || server.Attributes["url.path"] != path || server.Attributes["http.response.status_code"] != "200" ||
				server.Attributes["pagi.request_id"] == "" || server.Resource["service.name"] != "shop" {
				t.Errorf("the request: %+v", server)
			}
			if wait.Parent != server.ID || wait.Failed || wait.Begin < server.Begin || wait.End > work.Begin {
				t.Errorf("the wait: %+v", wait)
			}
			if work.Parent != server.ID || work.Failed || work.Kind != "INTERNAL" || work.End < work.Begin ||
				work.Attributes["pagi.cgi.mode"] != c.mode || work.Attributes["pagi.mount"] != "/app" {
				t.Errorf("the work: %+v", work)
			}
			if want := []string{work.Attributes["process.pid"], "00-" + trace + "-" + work.ID + "-01", "vendor=1"}; answer != strings.Join(want, " ") {
				t.Errorf("the application was told %q, want %q", answer, want)
			}
		})
	}
}

// A request to a backend is the span of a client.
func TestTracesOfAProxy(t *testing.T) {
	backend := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if websocket.IsWebSocketUpgrade(r) {
			conn, err := (&websocket.Upgrader{}).Upgrade(w, r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_ = conn.WriteMessage(websocket.TextMessage, []byte(r.Header.Get("Traceparent"))) // the client sees it
			_, _, _ = conn.ReadMessage()                                                      // it leaves
			return
		}
		if strings.HasSuffix(r.URL.Path, "/missing") {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, r.Header.Get("Traceparent"))
	})
	web := httptest.NewServer(backend)
	defer web.Close()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { _ = fcgi.Serve(l, backend) }() // until l is closed
	g, collector := traced(t, "", fmt.Sprintf("  - {path: /web, proxy: %s}\n  - {path: /fcgi, proxy: 'fastcgi://%s'}\n  - {path: /none, proxy: 'http://127.0.0.1:1'}\n", web.URL, l.Addr()), nil)
	for i, tc := range []struct {
		method, path, status string
		failed               bool
	}{{"GET", "/web/", "200", false}, {"GET", "/fcgi/", "200", false}, {"POST", "/web/", "200", false}, {"GET", "/web/missing", "404", true}, {"GET", "/none/", "", true}} {
		_, told := g.request(tc.method, tc.path, "", strings.NewReader("body")) // of the gateway's own trace
		spans := collector.Await(2 * (i + 1))[2*i:]
		server, ask := tracingtest.Only(t, spans, tc.method+" "), tracingtest.Only(t, spans, "proxy")
		if server.Parent != "" || ask.Parent != server.ID || ask.Kind != "CLIENT" || ask.Failed != tc.failed || ask.Attributes["http.response.status_code"] != tc.status ||
			ask.Attributes["http.request.method"] != tc.method || ask.Attributes["server.address"] != "127.0.0.1" ||
			ask.Attributes["pagi.mount"] != server.Attributes["http.route"] {
			t.Errorf("%s %s: %+v below %+v", tc.method, tc.path, ask, server)
		}
		if want := "00-" + ask.Trace + "-" + ask.ID + "-01"; tc.status == "200" && told != want {
			t.Errorf("%s %s: the backend was told %q, want %q", tc.method, tc.path, told, want)
		}
	}
	before := len(collector.Spans())
	conn, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(g.URL, "http")+"/web/", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, told, err := conn.ReadMessage()
	if err != nil {
		t.Fatal(err)
	}
	if len(collector.Spans()) != before {
		t.Error("the span of a WebSocket that goes on has ended")
	}
	conn.Close()
	spans := collector.Await(before + 2)[before:]
	server, ask := tracingtest.Only(t, spans, "GET /web"), tracingtest.Only(t, spans, "proxy")
	if server.Attributes["http.response.status_code"] != "101" || server.Attributes["pagi.stream"] != "true" || ask.Attributes["http.response.status_code"] != "101" ||
		ask.Parent != server.ID || string(told) != "00-"+ask.Trace+"-"+ask.ID+"-01" {
		t.Errorf("told %q: %+v below %+v", told, ask, server)
	}
}

// A request that is declined as an event stream is served again, in the same trace.
func TestTheTraceOfADeclinedEventStream(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	g, collector := traced(t, "", "  - {path: /, psgi: app.psgi, workers: 1}\n", map[string]string{"app.psgi": tracedPSGI})
	req := testkit.NewRequest(t, "GET", g.URL+"/", nil)
	req.Header.Set("Accept", "text/event-stream")
	res, body := testkit.Do(t, client, req)
	if res.StatusCode != 200 {
		t.Fatalf("%s %s", res.Status, body)
	}
	spans := collector.Await(3)
	server := tracingtest.Only(t, spans, "GET /")
	for _, s := range spans {
		if s.Trace != server.Trace || s.ID != server.ID && s.Parent != server.ID {
			t.Errorf("%+v", s)
		}
	}
	if told := strings.Fields(body); !strings.Contains(told[1], server.Trace) {
		t.Errorf("told %v", told)
	}
}

// Without tracing the headers of clients go on as they are, and no variable is made of them.
func TestATraceOfOthersWithoutTracing(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	dir := isolated(t, map[string]string{
		"site.yaml": "listen: 127.0.0.1:0\nenvironment: deployment\nmounts:\n  - {path: /, psgi: app.psgi}\n  - {path: /cgi, cgi: cgi}\n",
		"app.psgi":  tracedPSGI, "cgi/sh.cgi": "#!/bin/sh\necho Content-Type: text/plain\necho\necho \"$HTTP_TRACEPARENT and $TRACEPARENT\"\n",
	})
	if err := os.Chmod(filepath.Join(dir, "cgi/sh.cgi"), 0o755); err != nil {
		t.Fatal(err)
	}
	g := serve(t, "-c", filepath.Join(dir, "site.yaml"))
	if trace, told := g.called("/"); !strings.HasSuffix(told, " 00-"+trace+"-"+callersSpan+"-01 vendor=1") {
		t.Errorf("PSGI: %s", told)
	}
	if trace, told := g.called("/cgi/sh.cgi"); told != "00-"+trace+"-"+callersSpan+"-01 and" {
		t.Errorf("CGI: %s", told)
	}
}

// The spans that wait are sent when the program ends. The log names the trace.
func TestSpansAreSentAtTheEnd(t *testing.T) {
	testkit.Tool(t, "perl", "perl")
	c := tracingtest.New(t)
	dir := isolated(t, map[string]string{
		"site.yaml": "listen: 127.0.0.1:0\nenvironment: deployment\naccess_log: access.log\naccess_log_format: json\ntracing: " + c.URL + "\nmounts:\n  - {path: /, psgi: app.psgi}\n",
		"app.psgi":  `sub { die "on purpose\n" }`,
	})
	cmd := testkit.Command(dir, program, "-c", "site.yaml")
	cmd.Env = append(os.Environ(), "OTEL_BSP_SCHEDULE_DELAY=600000")
	g := &gateway{testkit.Start(t, cmd), t}
	var clients sync.WaitGroup
	for range 10 {
		clients.Go(func() { g.get("/") })
	}
	clients.Wait()
	if len(c.Spans()) > 0 {
		t.Fatal("the spans have been sent too early for this test")
	}
	if code := g.Stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	spans := c.Await(30)
	traces := map[string]bool{}
	for _, s := range spans {
		if s.Kind == "SERVER" {
			traces[s.Trace] = true
			if !s.Failed || s.Attributes["http.response.status_code"] != "500" {
				t.Errorf("%+v", s)
			}
		}
	}
	if len(traces) != 10 {
		t.Errorf("%d traces", len(traces))
	}
	var lines []string
	testkit.Eventually(t, "the access log", func() bool {
		text, err := os.ReadFile(filepath.Join(dir, "access.log"))
		lines = strings.Split(strings.TrimSpace(string(text)), "\n")
		return err == nil && len(lines) == 10
	})
	for _, line := range lines {
		var request struct {
			TraceID string `json:"trace_id"`
		}
		if err := json.Unmarshal([]byte(line), &request); err != nil || !traces[request.TraceID] {
			t.Errorf("%v: %s", err, line)
		}
	}
	for id := range traces {
		if !strings.Contains(g.Log.String(), "trace_id="+id) {
			t.Errorf("the log does not name %s: %s", id, g.Log.String())
		}
	}
}

// A collector that is away costs the clients nothing, and does not hold up the end.
func TestTracesWithoutACollector(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{
		"site.yaml": "listen: 127.0.0.1:0\nenvironment: deployment\ntracing: {endpoint: 'http://127.0.0.1:1', max_queue: 10}\nmounts:\n  - {path: /, file: .}\n",
	})
	cmd := testkit.Command(dir, program, "-c", "site.yaml")
	cmd.Env = append(os.Environ(), "OTEL_BSP_SCHEDULE_DELAY=10")
	g := &gateway{testkit.Start(t, cmd), t}
	for range 200 {
		if res, body := g.get("/site.yaml"); res.StatusCode != 200 {
			t.Fatalf("%s %s", res.Status, body)
		}
	}
	if code := g.Stop(syscall.SIGTERM); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if n := strings.Count(g.Log.String(), "spans cannot be delivered"); n != 1 {
		t.Errorf("told %d times: %s", n, g.Log.String())
	}
}

// -t reports what is wrong with the part tracing and with the environment.
func TestTheTestOfTracing(t *testing.T) {
	dir := testkit.Tree(t, map[string]string{
		"wrong.yaml": "tracing:\n  endpoint: localhost:4318\n  sample: 2\n  trust: [10.0.0.0/99]\nmounts:\n  - {path: /, file: .}\n",
		"right.yaml": "tracing: {}\nmounts:\n  - {path: /, file: .}\n",
	})
	out, err := testkit.Command(dir, program, "-t", "-c", "wrong.yaml").CombinedOutput()
	for _, want := range []string{"wrong.yaml:2:13: tracing.endpoint: must be", "wrong.yaml:3:11: tracing.sample: must be from 0 to 1, is 2", "wrong.yaml:4:10: tracing.trust: must be"} {
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("%v, without %q: %s", err, want, out)
		}
	}
	cmd := testkit.Command(dir, program, "-t", "-c", "right.yaml")
	cmd.Env = append(os.Environ(), "OTEL_EXPORTER_OTLP_PROTOCOL=grpc")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "right.yaml:1:10: tracing: the environment variable OTEL_EXPORTER_OTLP_PROTOCOL is \"grpc\"") {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := testkit.Command(dir, program, "-t", "-c", "right.yaml").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// By default the caller's trace counts behind the proxies that the site trusts. A secret for the collector comes from the
// environment.
func TestWhoseTraceCounts(t *testing.T) {
	for name, tc := range map[string]struct {
		site  string
		taken bool
	}{
		"without reverse_proxy":    {"", false},
		"behind a trusted proxy":   {"middleware: [reverse_proxy]\n", true},
		"all peers":                {"middleware:\n  - reverse_proxy: {trust_all: true}\n", true},
		"proxies of other places":  {"middleware:\n  - reverse_proxy: {trusted_proxies: [192.0.2.1]}\n", false},
		"trust: false":             {"middleware: [reverse_proxy]\ntracing: {trust: false, endpoint: ENDPOINT, headers: {authorization: 'Bearer ${TOKEN}'}}\n", false},
		"trust: true":              {"tracing: {trust: true, endpoint: ENDPOINT, headers: {authorization: 'Bearer ${TOKEN}'}}\n", true},
		"trust: an address":        {"tracing: {trust: 127.0.0.1, endpoint: ENDPOINT, headers: {authorization: 'Bearer ${TOKEN}'}}\n", true},
		"trust: another's address": {"tracing: {trust: [192.0.2.0/24], endpoint: ENDPOINT, headers: {authorization: 'Bearer ${TOKEN}'}}\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			c := tracingtest.New(t)
			site := tc.site
			if !strings.Contains(site, "tracing:") {
				site += "tracing: {endpoint: ENDPOINT, headers: {authorization: 'Bearer ${TOKEN}'}}\n"
			}
			dir := testkit.Tree(t, map[string]string{"site.yaml": "listen: 127.0.0.1:0\nenvironment: deployment\n" + strings.ReplaceAll(site, "ENDPOINT", c.URL) + "mounts:\n  - {path: /, file: .}\n"})
			cmd := testkit.Command(dir, program, "-c", "site.yaml")
			cmd.Env = append(os.Environ(), "OTEL_BSP_SCHEDULE_DELAY=20", "TOKEN=secret")
			g := &gateway{testkit.Start(t, cmd), t}
			trace, _ := g.called("/site.yaml")
			s := c.Await(1)[0]
			if (s.Trace == trace) != tc.taken || (s.Parent == callersSpan) != tc.taken || (s.State == "vendor=1") != tc.taken {
				t.Errorf("%+v", s)
			}
			if got := c.Headers()[0].Get("Authorization"); got != "Bearer secret" {
				t.Errorf("the collector gets %q", got)
			}
		})
	}
}
