package pagi

import (
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/pagi-go/pagi-bridge/internal/headername"
)

// Validate checks an event to the client by itself, without the events before it. The scope type
// must know the event, and its fields must have the kind and range of the specification. The error
// is an *EventError.
//
// The implementation of Send checks the rules about order (start before body, nothing after the
// end); see CheckOrder.
func Validate(scopeType string, ev Event) error {
	switch scopeType {
	case TypeHTTP:
		return validateHTTP(ev)
	case TypeWebSocket:
		return validateWebSocket(ev)
	case TypeSSE:
		return validateSSE(ev)
	case TypeLifespan:
		return validateLifespan(ev)
	}
	return fmt.Errorf("%w: %q", ErrUnsupported, scopeType)
}

func validateHTTP(ev Event) error {
	switch e := ev.(type) {
	case HTTPResponseStart:
		return validateStart(ev, e.Status, e.Headers)
	case HTTPResponseBody:
		return validateBody(&e)
	case HTTPResponseTrailers:
		return e.Headers.Validate(e.EventType())
	case HTTPResponseInformational:
		if e.Status < 102 || e.Status > 199 {
			return &EventError{e.EventType(), "status", fmt.Sprintf("must be 102 to 199, is %d", e.Status)}
		}
		return e.Headers.Validate(e.EventType())
	case HTTPFullFlush:
		return nil
	}
	return unknownEvent(TypeHTTP, ev)
}

func validateWebSocket(ev Event) error {
	switch e := ev.(type) {
	case WebSocketAccept:
		if e.Subprotocol != "" && !headername.IsToken(e.Subprotocol) {
			return &EventError{e.EventType(), "subprotocol", fmt.Sprintf("must be a token, is %q", e.Subprotocol)}
		}
		return e.Headers.Validate(e.EventType())
	case WebSocketSend:
		switch {
		case e.Binary && e.Text != "":
			return &EventError{e.EventType(), "text", "must not be given together with 'bytes'"}
		case !e.Binary && e.Bytes != nil:
			return &EventError{e.EventType(), "bytes", "must not be given together with 'text'"}
		case !e.Binary && !utf8.ValidString(e.Text):
			return &EventError{e.EventType(), "text", "must be valid UTF-8"}
		}
		return nil
	case WebSocketKeepalive:
		if e.Interval < 0 {
			return &EventError{e.EventType(), "interval", "must not be negative"}
		}
		if e.Timeout < 0 {
			return &EventError{e.EventType(), "timeout", "must not be negative"}
		}
		return nil
	case WebSocketClose:
		if e.Code != 0 && !isCloseCode(e.Code) {
			return &EventError{e.EventType(), "code", fmt.Sprintf("must be a close code an endpoint may send (RFC 6455 section 7.4), is %d", e.Code)}
		}
		if len(e.Reason) > 123 || !utf8.ValidString(e.Reason) {
			return &EventError{e.EventType(), "reason", "must be at most 123 bytes of UTF-8"}
		}
		return nil
	case WebSocketHTTPResponseStart:
		return validateStart(ev, e.Status, e.Headers)
	case WebSocketHTTPResponseBody:
		return nil
	}
	return unknownEvent(TypeWebSocket, ev)
}

func validateSSE(ev Event) error {
	switch e := ev.(type) {
	case SSEStart:
		if e.Status == 0 {
			return e.Headers.Validate(e.EventType())
		}
		return validateStart(ev, e.Status, e.Headers)
	case SSESend:
		if strings.ContainsAny(e.Event, "\r\n") {
			return &EventError{e.EventType(), "event", "must not contain a newline"}
		}
		// By the standard a client ignores an id that contains a NUL.
		if strings.ContainsAny(e.ID, "\r\n\x00") {
			return &EventError{e.EventType(), "id", "must not contain a newline or NUL"}
		}
		if e.Retry < 0 {
			return &EventError{e.EventType(), "retry", "must not be negative"}
		}
		return validateTexts(ev, "event", e.Event, "id", e.ID, "data", e.Data)
	case SSEComment:
		return validateTexts(ev, "comment", e.Comment)
	case SSEKeepalive:
		if e.Interval < 0 {
			return &EventError{e.EventType(), "interval", "must not be negative"}
		}
		return validateTexts(ev, "comment", e.Comment)
	case SSEClose, SSEHTTPResponseBody:
		return nil
	case SSEHTTPResponseStart:
		return validateStart(ev, e.Status, e.Headers)
	case HTTPFullFlush:
		return nil
	}
	return unknownEvent(TypeSSE, ev)
}

// validateTexts checks fields that are UTF-8 on the wire, given as name, value pairs.
func validateTexts(ev Event, pairs ...string) error {
	for i := 0; i < len(pairs); i += 2 {
		if !utf8.ValidString(pairs[i+1]) {
			return &EventError{ev.EventType(), pairs[i], "must be valid UTF-8"}
		}
	}
	return nil
}

func validateLifespan(ev Event) error {
	switch ev.(type) {
	case LifespanStartupComplete, LifespanStartupFailed, LifespanShutdownComplete, LifespanShutdownFailed:
		return nil
	}
	return unknownEvent(TypeLifespan, ev)
}

func unknownEvent(scopeType string, ev Event) error {
	if ev == nil {
		return &EventError{"(nil)", "type", "is missing"}
	}
	if reflect.TypeOf(ev).Kind() == reflect.Pointer {
		return &EventError{fmt.Sprintf("%T", ev), "", "is a pointer; events are sent as values"}
	}
	return &EventError{ev.EventType(), "type", "is not an event an application can send in a scope of type " + scopeType}
}

func validateStart(ev Event, status int, headers Headers) error {
	if status < 200 || status > 999 {
		return &EventError{ev.EventType(), "status", fmt.Sprintf("must be 200 to 999, is %d", status)}
	}
	return headers.Validate(ev.EventType())
}

func validateBody(e *HTTPResponseBody) error {
	given := 0
	for _, is := range []bool{len(e.Body) > 0, e.File != "", e.FH != nil} {
		if is {
			given++
		}
	}
	switch {
	case given > 1:
		return &EventError{e.EventType(), "", "'body', 'file' and 'fh' exclude one another"}
	case e.Offset < 0:
		return &EventError{e.EventType(), "offset", fmt.Sprintf("must not be negative, is %d", e.Offset)}
	case e.Length < ToEnd:
		return &EventError{e.EventType(), "length", fmt.Sprintf("must not be negative, except for %d (ToEnd), is %d", ToEnd, e.Length)}
	case strings.IndexByte(e.File, 0) >= 0:
		return &EventError{e.EventType(), "file", "must not contain NUL"}
	}
	return nil
}

// Validate checks that every name is a token (RFC 9110 section 5.1) and that no value contains a
// control character but HTAB (section 5.5): CR, LF and NUL would let a header break out of its
// line, and clients treat the other ones differently. eventType goes into the error.
func (h Headers) Validate(eventType string) error {
	for i := range h {
		name, value := h[i].Name, h[i].Value
		switch {
		case !headername.IsToken(name):
			return &EventError{eventType, "headers", fmt.Sprintf("contains the name %q, which is not a token (RFC 9110 section 5.1)", name)}
		case !isFieldValue(value):
			return &EventError{eventType, "headers", fmt.Sprintf("contains a control character in the value of %q", name)}
		}
	}
	return nil
}

// isFieldValue reports whether v contains no control character except tabs (RFC 9110 section 5.5).
func isFieldValue(v string) bool {
	for i := range len(v) {
		if c := v[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// isCloseCode reports whether RFC 6455 section 7.4 allows an endpoint to
// send the code. 1004 to 1006 and 1015 are reserved.
func isCloseCode(code int) bool {
	return code >= 1000 && code <= 1003 || code >= 1007 && code <= 1014 || code >= 3000 && code <= 4999
}
