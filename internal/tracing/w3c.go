package tracing

import (
	"strings"

	"go.opentelemetry.io/otel/trace"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// W3C Trace Context, level 1: https://www.w3.org/TR/trace-context-1/

const headerTracestate = "tracestate"

// parent is what a request says of its trace: the span of the caller.
type parent struct {
	trace trace.TraceID
	span  trace.SpanID
	flags trace.TraceFlags // only the bit of trace.FlagsSampled
}

// isSampled reports whether the caller records its part of the trace.
func (p *parent) isSampled() bool { return p.flags.IsSampled() }

// find looks for the headers of a trace context. said reports whether there is any of them, ok whether there is exactly one
// traceparent, which can be read. It allocates nothing.
func find(headers pagi.Headers) (p parent, said, ok bool) {
	parents := 0
	for i := range headers {
		switch headers[i].Name {
		case pagi.HeaderTraceparent:
			said = true
			parents++
			ok = parents == 1 && p.parse(headers[i].Value)
		case headerTracestate:
			said = true
		}
	}
	return p, said, ok
}

// length is that of a traceparent of version 00: version, trace-id, parent-id and trace-flags with dashes between.
const length = len("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")

// parse reads a traceparent. Of a version above 00 it reads what is as in 00 (section 4.3).
func (p *parent) parse(text string) bool {
	text = strings.Trim(text, " \t")
	if len(text) < length || text[2] != '-' || text[35] != '-' || text[52] != '-' {
		return false
	}
	var version, flags [1]byte
	if !unhex(version[:], text[:2]) || !unhex(p.trace[:], text[3:35]) || !unhex(p.span[:], text[36:52]) || !unhex(flags[:], text[53:55]) {
		return false
	}
	switch {
	case version[0] == 0xff, version[0] == 0 && len(text) > length, len(text) > length && text[length] != '-':
		return false
	}
	p.flags = trace.TraceFlags(flags[0]) & trace.FlagsSampled
	return p.trace.IsValid() && p.span.IsValid()
}

// unhex reads lower-case hexadecimal digits.
func unhex(into []byte, text string) bool {
	for i := range into {
		high, low := digit(text[2*i]), digit(text[2*i+1])
		if high > 15 || low > 15 {
			return false
		}
		into[i] = high<<4 | low
	}
	return true
}

// digit returns the value of a hexadecimal digit, or a number above 15.
func digit(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}

// traceparent returns the header of version 00.
func traceparent(id trace.TraceID, span trace.SpanID, sampled bool) string {
	flags := "00"
	if sampled {
		flags = "01"
	}
	return "00-" + id.String() + "-" + span.String() + "-" + flags
}
