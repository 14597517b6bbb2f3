package engine

import (
	"strconv"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// eventStreamType is the media type of an event stream (the HTML standard, section
// 9.2, "Server-sent events").
const eventStreamType = "text/event-stream"

// AcceptsEvents reports whether a request is for an event stream: its Accept header
// names the media type, and not to refuse it (RFC 9110 section 12.5.1). A range like
// */* does not count.
func AcceptsEvents(headers pagi.Headers) bool {
	for i := range headers {
		if h := &headers[i]; len(h.Value) >= len(eventStreamType) && pagi.EqualFold(h.Name, "accept") && namesEvents(h.Value) {
			return true
		}
	}
	return false
}

// isEventStream reports whether a Content-Type is that of an event stream.
func isEventStream(contentType string) bool {
	mediaType, _, _ := strings.Cut(contentType, ";")
	return pagi.EqualFold(strings.TrimSpace(mediaType), eventStreamType)
}

func namesEvents(accept string) bool {
	for element := range strings.SplitSeq(accept, ",") {
		mediaType, params, _ := strings.Cut(element, ";")
		if pagi.EqualFold(strings.TrimSpace(mediaType), eventStreamType) && !isRefused(params) {
			return true
		}
	}
	return false
}

// isRefused reports whether the parameters of a media type give it the weight 0.
func isRefused(params string) bool {
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(param, "=")
		if pagi.EqualFold(strings.TrimSpace(name), "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return err == nil && q == 0
		}
	}
	return false
}
