package tracing

import (
	"net/http"
	"strconv"
	"strings"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/pagi-go/pagi-bridge/internal/hostname"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// The attributes are those of the semantic conventions of OpenTelemetry for servers of HTTP, version 1.41. Those that begin
// with "pagi." are this program's own. The query is left out: it may have secrets.

// Observer returns what ends the spans of requests. peers are those of App.
func (t *Tracer) Observer(peers Peers) engine.Observer { return &observer{t, peers} }

type observer struct {
	tracer *Tracer
	peers  Peers
}

// RequestDone implements engine.Observer: it ends the span of a request that is recorded. A request that was answered before it
// came to App gets its span here. It allocates nothing for a request that is not recorded
// and names no trace.
func (o *observer) RequestDone(rec *engine.Record) {
	r, is := rec.Trace().(*request)
	switch {
	case is && r.tracer == o.tracer:
		r.end(rec)
	case !is && rec.IsTurnedDown():
		if r := o.begin(rec); r != nil {
			r.end(rec)
		}
	}
}

// begin starts the span of a request that was turned down, nil where it is not recorded. The server has read no headers of a request
// of HTTP/1 whose head it refuses; whether that one has a parent is not known, and it is not recorded.
func (o *observer) begin(rec *engine.Record) *request {
	headers, known := rec.Headers(pagi.HeaderTraceparent, headerTracestate)
	if !known {
		return nil
	}
	parent, _, has := find(headers)
	has = has && o.peers.has(rec.Client())
	if !o.tracer.sampler.decide(&parent, has) {
		return nil
	}
	return o.tracer.begin(rec.Request.Method, rec.Begin, parent, has, headers)
}

// end ends the span of the request, and describes it.
func (r *request) end(rec *engine.Record) {
	span, req, mount := r.span, rec.Request, rec.Mount()
	method := methodName(req.Method, "_OTHER")
	name := methodName(req.Method, "HTTP")
	if mount != "" {
		name += " " + mount
	}
	span.SetName(text(name))
	path, _, _ := strings.Cut(req.RequestURI, "?")
	if !strings.HasPrefix(path, "/") && req.URL != nil {
		path = req.URL.EscapedPath() // of a target in absolute form
	}
	attributes := make([]attribute.KeyValue, 0, 20)
	add := func(name, value string) {
		if value != "" {
			attributes = append(attributes, attribute.String(name, text(value)))
		}
	}
	add("http.request.method", method)
	if method == "_OTHER" {
		add("http.request.method_original", req.Method)
	}
	add("url.path", path)
	add("url.scheme", scheme(req))
	add("http.route", mount)
	add("network.protocol.name", "http")
	add("network.protocol.version", version(req))
	host, port := hostname.Split(rec.Header("host"))
	add("server.address", strings.Trim(host, "[]"))
	if n, err := strconv.ParseUint(port, 10, 16); err == nil {
		attributes = append(attributes, attribute.Int64("server.port", int64(n)))
	}
	add("client.address", rec.Client())
	add("network.peer.address", engine.ParseAddr(req.RemoteAddr).Host)
	add("user_agent.original", rec.Header("user-agent"))
	add("pagi.disconnect_reason", rec.Reason)
	if id, is := rec.Note("request_id").(string); is {
		add("pagi.request_id", id)
	}
	attributes = append(attributes, attribute.Int64("http.response.body.size", rec.Bytes))
	if rec.IsStream() {
		attributes = append(attributes, attribute.Bool("pagi.stream", true))
	}
	if rec.Status != 0 {
		attributes = append(attributes, attribute.Int("http.response.status_code", rec.Status))
	}
	if rec.Status >= http.StatusInternalServerError {
		add("error.type", strconv.Itoa(rec.Status))
		why := ""
		if rec.Err != nil {
			why = errorText(rec.Err)
		}
		span.SetStatus(codes.Error, why)
	}
	span.SetAttributes(attributes...)
	span.End(trace.WithTimestamp(rec.Begin.Add(rec.Duration)))
}

// methodName returns a method that the conventions know, or other.
func methodName(method, other string) string {
	switch method {
	case "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE", "QUERY":
		return method
	}
	return other
}

func scheme(r *http.Request) string {
	if r.TLS != nil {
		return "https"
	}
	return "http"
}

func version(r *http.Request) string {
	if r.ProtoMajor == 1 {
		return "1." + strconv.Itoa(r.ProtoMinor)
	}
	return strconv.Itoa(r.ProtoMajor)
}
