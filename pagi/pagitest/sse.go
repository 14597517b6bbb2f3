package pagitest

import (
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// returned ends an open event stream, because the application has returned. It reports whether one
// was open.
func (s *sequence) returned() bool {
	if s.scope.Type != pagi.TypeSSE || !s.started || s.declined || s.bodyDone {
		return false
	}
	s.bodyDone = true
	return true
}

// recordSSE adds an event of an sse scope to the response.
func (e *local) recordSSE(ev pagi.Event) error {
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
		e.res.Body, e.res.Chunks = nil, nil // drops comments, because the response is no event stream
		e.control.Start()
	case pagi.SSEHTTPResponseBody:
		return e.recordBody(pagi.HTTPResponseBody{Body: v.Body, More: v.More})
	case pagi.SSESend:
		piece = engine.AppendSSE(nil, &v)
	case pagi.SSEComment:
		piece = engine.AppendSSEComment(nil, v.Comment)
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
