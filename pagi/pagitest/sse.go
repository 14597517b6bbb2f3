package pagitest

import (
	"github.com/pagi-go/pagi-bridge/pagi"
)

// checkSSE refuses an event that may not come here in an sse scope: what is sent first
// decides between an event stream and an ordinary response.
func (s *sequence) checkSSE(ev pagi.Event) error {
	wrong := func(problem string) error { return &pagi.EventError{Type: ev.EventType(), Problem: problem} }
	switch e := ev.(type) {
	case pagi.HTTPFullFlush:
		if !s.scope.HasExtension(pagi.ExtFullFlush) {
			return wrong("the scope does not offer the extension " + pagi.ExtFullFlush)
		}
		return nil
	case pagi.SSEHTTPResponseBody:
		switch {
		case !s.declined:
			return wrong("sse.http.response.start must come first, and instead of sse.start")
		case s.bodyDone:
			return wrong("the response is complete")
		}
		return nil
	case pagi.SSEStart:
		if s.started {
			return wrong("the response was started already")
		}
		s.started, s.length = true, -1
		return lowerCase(e.EventType(), e.Headers)
	case pagi.SSEHTTPResponseStart:
		if s.started {
			return wrong("the response was started already")
		}
		s.declined = true
		return s.start(e, e.Status, e.Headers)
	}
	_, closing := ev.(pagi.SSEClose)
	switch {
	case s.declined:
		return wrong("the request was answered with sse.http.response.start")
	case !s.started:
		return wrong("sse.start must come first")
	case s.bodyDone && !closing:
		return wrong("the event stream is closed")
	}
	return nil
}

// returned ends an event stream that is open, as an application's return does, and
// reports whether there was one.
func (s *sequence) returned() bool {
	if s.scope.Type != pagi.TypeSSE || !s.started || s.declined || s.bodyDone {
		return false
	}
	s.bodyDone = true
	return true
}

// recordSSE adds an event of an sse scope to the response.
func (e *Exchange) recordSSE(ev pagi.Event) error {
	var piece []byte
	switch v := ev.(type) {
	case pagi.SSEStart:
		e.res.Status, e.res.Headers = v.Status, v.Headers.Clone()
		if v.Status == 0 {
			e.res.Status = 200
		}
		for _, h := range pagi.NewHeaders("content-type", "text/event-stream", "cache-control", "no-cache") {
			if !e.res.Headers.Has(h.Name) {
				e.res.Headers.Add(h.Name, h.Value)
			}
		}
		e.control.Start()
	case pagi.SSEHTTPResponseStart:
		e.res.Status, e.res.Headers = v.Status, v.Headers.Clone()
		e.control.Start()
	case pagi.SSEHTTPResponseBody:
		return e.recordBody(pagi.HTTPResponseBody{Body: v.Body, More: v.More})
	case pagi.SSESend:
		piece = pagi.AppendSSE(nil, &v)
	case pagi.SSEComment:
		piece = pagi.AppendSSEComment(nil, v.Comment)
	case pagi.SSEClose:
		if !e.seq.bodyDone {
			e.seq.bodyDone, e.seq.reason = true, v.Reason
		}
	}
	if e.Scope.Method != "HEAD" && len(piece) > 0 {
		e.res.Body = append(e.res.Body, piece...)
		e.res.Chunks = append(e.res.Chunks, piece)
	}
	return nil
}
