package pagitest

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// ServerEvent is one event as a browser's EventSource would dispatch it.
type ServerEvent struct {
	// Event is the event's type, "message" if the stream names none.
	Event string
	Data  string
	// ID is the last event id: the event's own, or else that of an earlier event.
	ID string
	// Retry is the reconnection time that the stream has set last; 0: none.
	Retry time.Duration
}

// JSON decodes the event's data into v.
func (e ServerEvent) JSON(v any) error {
	if err := json.Unmarshal([]byte(e.Data), v); err != nil {
		return fmt.Errorf("pagitest: the data %.1500q is not the JSON asked for: %w", e.Data, err)
	}
	return nil
}

// EventStream reads the events of one request step by step. It parses the bytes that would be on
// the wire. So it also reads a stream from an application that answers with an ordinary response of
// type text/event-stream. Finish must be called.
type EventStream struct {
	// Exchange is the request.
	Exchange *Exchange
	// Comments are the comments so far, without the colon.
	Comments []string

	parser eventParser
	events []ServerEvent // parsed and not yet returned by Next
}

// Events sends a GET request that accepts an event stream, and returns while the application
// handles it. See Client.Begin and AcceptEvents for other methods.
func (c *Client) Events(target string, opts ...Option) *EventStream {
	return c.Begin("GET", target, append([]Option{AcceptEvents()}, opts...)...).Events()
}

// AcceptEvents makes the request one for an event stream.
func AcceptEvents() Option { return Header("accept", "text/event-stream") }

// Events reads the exchange as an event stream.
func (e *Exchange) Events() *EventStream { return &EventStream{Exchange: e} }

// Next returns the next event. ok is false when there is none because the stream or
// the application has ended, or the client disconnected.
func (s *EventStream) Next() (event ServerEvent, ok bool) {
	for len(s.events) == 0 {
		ev, ok := s.Exchange.Next()
		if !ok {
			return ServerEvent{}, false
		}
		s.feed(ev)
	}
	event, s.events = s.events[0], s.events[1:]
	return event, true
}

// feed parses the bytes that ev would put on the wire.
func (s *EventStream) feed(ev pagi.Event) {
	var piece []byte
	switch v := ev.(type) {
	case pagi.SSESend:
		piece = engine.AppendSSE(nil, &v)
	case pagi.SSEComment:
		piece = engine.AppendSSEComment(nil, v.Comment)
	case pagi.SSEHTTPResponseBody:
		piece = v.Body
	case pagi.HTTPResponseBody:
		piece = v.Body
	}
	events, comments := s.parser.parse(string(piece))
	s.events = append(s.events, events...)
	s.Comments = append(s.Comments, comments...)
}

// Disconnect makes the client go away for the given reason, a constant of package
// pagi.
func (s *EventStream) Disconnect(reason string) { s.Exchange.Disconnect(reason) }

// Finish takes the remaining events, waits until the application has returned, and returns the
// whole response. The response's Body is the stream as it would be on the wire.
func (s *EventStream) Finish() *Response { return s.Exchange.Finish() }

// eventParser parses an event stream (the HTML standard, section 9.2.6).
type eventParser struct {
	line  string // the line that has not ended yet
	cr    bool   // the last line ended in a CR: a LF that follows belongs to it
	event string
	data  []string
	id    string
	retry time.Duration
}

func (p *eventParser) parse(text string) (events []ServerEvent, comments []string) {
	if p.cr && text != "" {
		text, p.cr = strings.TrimPrefix(text, "\n"), false
	}
	for {
		i := strings.IndexAny(text, "\r\n")
		if i < 0 {
			p.line += text
			return events, comments
		}
		line := p.line + text[:i]
		p.line = ""
		if text[i] == '\r' {
			p.cr = i+1 == len(text)
			if strings.HasPrefix(text[i+1:], "\n") {
				i++
			}
		}
		text = text[i+1:]
		name, value, _ := strings.Cut(line, ":")
		switch {
		case line == "":
			if e, ok := p.dispatch(); ok {
				events = append(events, e)
			}
		case name == "":
			comments = append(comments, value)
		default:
			p.field(name, strings.TrimPrefix(value, " "))
		}
	}
}

func (p *eventParser) field(name, value string) {
	switch name {
	case "event":
		p.event = value
	case "data":
		p.data = append(p.data, value)
	case "id":
		if !strings.Contains(value, "\x00") {
			p.id = value
		}
	case "retry":
		if ms, err := strconv.ParseUint(value, 10, 31); err == nil {
			p.retry = time.Duration(ms) * time.Millisecond
		}
	}
}

func (p *eventParser) dispatch() (ServerEvent, bool) {
	e := ServerEvent{Event: or(p.event, "message"), Data: strings.Join(p.data, "\n"), ID: p.id, Retry: p.retry}
	ok := len(p.data) > 0
	p.event, p.data = "", nil
	return e, ok
}
