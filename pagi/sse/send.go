package sse

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Event is one event of the stream (the HTML standard, section 9.2).
type Event struct {
	// Data is the event's text. It may hold newlines.
	Data string
	// Name is the event's type; "" means "message" to a browser.
	Name string
	// ID is what a client that reconnects sends as LastEventID; "" leaves the last one.
	ID string
}

// Send sends an event. It begins the stream if that has not begun, and blocks while the client is
// behind. After the end of the stream, as far as the Stream knows it, the error is a *CloseError.
func (s *Stream) Send(e Event) error {
	return s.sendEvent(pagi.SSESend{Event: e.Name, Data: e.Data, ID: e.ID})
}

// SendData sends an event that has only data; see Send.
func (s *Stream) SendData(data string) error { return s.Send(Event{Data: data}) }

// SendJSON sends an event with v as JSON; name may be "". See Send.
func (s *Stream) SendJSON(name string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("sse: %w", err)
	}
	return s.Send(Event{Name: name, Data: string(text)})
}

// Comment sends a comment, which a browser does not show to the page. See Send.
func (s *Stream) Comment(text string) error { return s.sendEvent(pagi.SSEComment{Comment: text}) }

// Retry sets how long the client waits before it reconnects. The client learns it with the next
// event.
func (s *Stream) Retry(wait time.Duration) {
	s.sending.Lock()
	defer s.sending.Unlock()
	s.retry = &wait
}

// TrySend sends an event if that is possible at once: the stream has not ended, no other send is
// running, and the client is not behind (see IsWritable). It reports whether the event was sent. An
// event that was not is dropped; the stream stays as it is.
func (s *Stream) TrySend(e Event) bool {
	if !s.sending.TryLock() {
		return false
	}
	defer s.sending.Unlock()
	return s.Err() == nil && !s.isBehind() && s.write(pagi.SSESend{Event: e.Name, Data: e.Data, ID: e.ID}) == nil
}

// IsWritable reports whether a send would not have to wait: the stream has not ended, and fewer bytes
// are buffered than the transport's high-water mark. Without a transport it is always so.
func (s *Stream) IsWritable() bool { return s.Err() == nil && !s.isBehind() }

// isBehind reports whether the client has not taken what was sent.
func (s *Stream) isBehind() bool {
	t := s.request.Scope().Transport
	if t == nil {
		return false
	}
	high := t.HighWaterMark()
	return high > 0 && t.BufferedAmount() >= high
}

func (s *Stream) sendEvent(ev pagi.Event) error {
	s.sending.Lock()
	defer s.sending.Unlock()
	if err := s.Err(); err != nil {
		return err
	}
	return s.write(ev)
}

// write sends ev, after the start if there was none. The caller holds sending.
func (s *Stream) write(ev pagi.Event) error {
	if !s.hasStarted() {
		if err := s.begin(pagi.SSEStart{}); err != nil {
			return err
		}
	}
	e, is := ev.(pagi.SSESend)
	if !is || s.retry == nil {
		return s.send(s.ctx, ev)
	}
	e.Retry, e.HasRetry = *s.retry, true
	if err := s.send(s.ctx, e); err != nil {
		return err
	}
	s.retry = nil
	return nil
}
