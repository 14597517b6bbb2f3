package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Kinds of events, as PROTOCOL.md lists them in section 5.
const (
	kindHTTPRequest       = 0x01
	kindWebSocketConnect  = 0x02
	kindWebSocketReceive  = 0x03
	kindSSERequest        = 0x04
	kindLifespanStartup   = 0x05
	kindLifespanShutdown  = 0x06
	kindHTTPInformational = 0x10
	kindHTTPStart         = 0x11
	kindHTTPBody          = 0x12
	kindHTTPFile          = 0x13
	kindHTTPTrailers      = 0x14
	kindHTTPFullFlush     = 0x15
	kindWebSocketAccept   = 0x20
	kindWebSocketSend     = 0x21
	kindWebSocketKeep     = 0x22
	kindWebSocketClose    = 0x23
	kindWebSocketStart    = 0x24
	kindWebSocketBody     = 0x25
	kindSSEStart          = 0x30
	kindSSESend           = 0x31
	kindSSEComment        = 0x32
	kindSSEKeep           = 0x33
	kindSSEClose          = 0x34
	kindSSEHTTPStart      = 0x35
	kindSSEHTTPBody       = 0x36
	kindStartupComplete   = 0x40
	kindStartupFailed     = 0x41
	kindShutdownComplete  = 0x42
	kindShutdownFailed    = 0x43
)

// Bits of an event.
const (
	bitMore     = 0x01
	bitBinary   = 0x02
	bitTrailers = 0x04
)

// ErrNotWired is the error of AppendEvent for an event that cannot cross the wire: a body whose
// source is a handle, a disconnect, or a type that the protocol does not have.
var ErrNotWired = errors.New("wire: this event has no form on the wire")

// HTTPFile is the event http.response.body with a file that a worker names. The receiver must open
// the file and compare it with Ref before it passes the event on. With a descriptor, Path, Device
// and Inode are empty. Length is pagi.ToEnd where the worker gave none.
type HTTPFile struct{ Ref FileRef }

// EventType implements pagi.Event.
func (HTTPFile) EventType() string { return pagi.HTTPResponseBody{}.EventType() }

// shape is what all events look like on the wire.
type shape struct {
	kind    uint8
	bits    uint8
	number  int
	headers pagi.Headers
	pairs   []string // instead of headers
	rest    []byte
	text    string // instead of rest
}

// AppendEvent appends the payload of an event, which may need several EVENT frames.
func AppendEvent(b []byte, ev pagi.Event) ([]byte, error) {
	s, ok := shapeOf(ev)
	if !ok {
		return b, fmt.Errorf("%w: %s", ErrNotWired, ev.EventType())
	}
	b = append(b, s.kind, s.bits)
	b = binary.BigEndian.AppendUint16(b, uint16(s.number))
	if s.pairs != nil {
		b = AppendPairs(b, s.pairs...)
	} else {
		b = appendHeaders(b, s.headers)
	}
	b = append(b, s.rest...)
	return append(b, s.text...), nil
}

// AppendWholeEvent appends an EVENT frame with a whole event, and returns the length of its payload.
func AppendWholeEvent(b []byte, stream uint32, ev pagi.Event) ([]byte, int, error) {
	start := len(b)
	b, err := AppendEvent(appendHeader(b, 0, EventPart, 0, stream), ev)
	size := len(b) - start - HeaderSize
	if err == nil && size > MaxPayload {
		err = fmt.Errorf("%w: %s of %d bytes in a frame, at most %d are allowed", ErrTooLarge, ev.EventType(), size, MaxPayload)
	}
	if err != nil {
		return b[:start], 0, err
	}
	binary.BigEndian.PutUint32(b[start:], uint32(size))
	return b, size, nil
}

func shapeOf(ev pagi.Event) (s shape, ok bool) {
	switch e := ev.(type) {
	case pagi.HTTPRequest:
		return shape{kind: kindHTTPRequest, bits: more(e.More), headers: e.Trailers, rest: e.Body}, true
	case pagi.SSERequest:
		return shape{kind: kindSSERequest, bits: more(e.More), headers: e.Trailers, rest: e.Body}, true
	case pagi.WebSocketConnect:
		return shape{kind: kindWebSocketConnect}, true
	case pagi.WebSocketReceive:
		return message(kindWebSocketReceive, e.Binary, e.Bytes, e.Text), true
	case pagi.LifespanStartup:
		return shape{kind: kindLifespanStartup}, true
	case pagi.LifespanShutdown:
		return shape{kind: kindLifespanShutdown}, true
	case pagi.HTTPResponseInformational:
		return shape{kind: kindHTTPInformational, number: e.Status, headers: e.Headers}, true
	case pagi.HTTPResponseStart:
		s = shape{kind: kindHTTPStart, number: e.Status, headers: e.Headers}
		if e.Trailers {
			s.bits = bitTrailers
		}
		return s, true
	case pagi.HTTPResponseBody:
		return shape{kind: kindHTTPBody, bits: more(e.More), rest: e.Body}, e.FH == nil && e.File == ""
	case HTTPFile:
		return fileShape(e.Ref), true
	case pagi.HTTPResponseTrailers:
		return shape{kind: kindHTTPTrailers, headers: e.Headers}, true
	case pagi.HTTPFullFlush:
		return shape{kind: kindHTTPFullFlush}, true
	case pagi.WebSocketAccept:
		return shape{kind: kindWebSocketAccept, headers: e.Headers, text: e.Subprotocol}, true
	case pagi.WebSocketSend:
		return message(kindWebSocketSend, e.Binary, e.Bytes, e.Text), true
	case pagi.WebSocketKeepalive:
		return shape{kind: kindWebSocketKeep, pairs: []string{"interval", milliseconds(e.Interval), "timeout", milliseconds(e.Timeout)}}, true
	case pagi.WebSocketClose:
		return shape{kind: kindWebSocketClose, number: e.Code, text: e.Reason}, true
	case pagi.WebSocketHTTPResponseStart:
		return shape{kind: kindWebSocketStart, number: e.Status, headers: e.Headers}, true
	case pagi.WebSocketHTTPResponseBody:
		return shape{kind: kindWebSocketBody, bits: more(e.More), rest: e.Body}, true
	case pagi.SSEStart:
		return shape{kind: kindSSEStart, number: e.Status, headers: e.Headers}, true
	case pagi.SSESend:
		return sendShape(e), true
	case pagi.SSEComment:
		return shape{kind: kindSSEComment, text: e.Comment}, true
	case pagi.SSEKeepalive:
		return shape{kind: kindSSEKeep, pairs: []string{"interval", milliseconds(e.Interval)}, text: e.Comment}, true
	case pagi.SSEClose:
		return shape{kind: kindSSEClose, text: e.Reason}, true
	case pagi.SSEHTTPResponseStart:
		return shape{kind: kindSSEHTTPStart, number: e.Status, headers: e.Headers}, true
	case pagi.SSEHTTPResponseBody:
		return shape{kind: kindSSEHTTPBody, bits: more(e.More), rest: e.Body}, true
	case pagi.LifespanStartupComplete:
		return shape{kind: kindStartupComplete}, true
	case pagi.LifespanStartupFailed:
		return shape{kind: kindStartupFailed, text: e.Message}, true
	case pagi.LifespanShutdownComplete:
		return shape{kind: kindShutdownComplete}, true
	case pagi.LifespanShutdownFailed:
		return shape{kind: kindShutdownFailed, text: e.Message}, true
	}
	return s, false
}

func more(is bool) uint8 {
	if is {
		return bitMore
	}
	return 0
}

func message(kind uint8, binary bool, b []byte, text string) shape {
	if binary {
		return shape{kind: kind, bits: bitBinary, rest: b}
	}
	return shape{kind: kind, text: text}
}

func fileShape(ref FileRef) shape {
	pairs := []string{
		"offset", strconv.FormatInt(ref.Offset, 10),
		"device", strconv.FormatUint(ref.Device, 10), "inode", strconv.FormatUint(ref.Inode, 10),
	}
	if ref.Length >= 0 {
		pairs = append(pairs, "length", strconv.FormatInt(ref.Length, 10))
	}
	return shape{kind: kindHTTPFile, pairs: pairs, text: ref.Path}
}

func sendShape(e pagi.SSESend) shape {
	pairs := make([]string, 0, 6)
	if e.Event != "" {
		pairs = append(pairs, "event", e.Event)
	}
	if e.ID != "" {
		pairs = append(pairs, "id", e.ID)
	}
	if e.HasRetry {
		pairs = append(pairs, "retry", milliseconds(e.Retry))
	}
	return shape{kind: kindSSESend, pairs: pairs, text: e.Data}
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// Direction is who sends an event.
type Direction uint8

// The directions.
const (
	ToWorker Direction = iota
	ToGateway
)

// DecodeEvent decodes the payload of an event that came in the direction. An event that the other side may not
// send is ErrMalformed. Bodies share p's memory.
func DecodeEvent(from Direction, p []byte) (pagi.Event, error) {
	d := decoder{p: p}
	s := shape{kind: d.uint8(), bits: d.uint8(), number: int(d.uint16())}
	if s.headers = d.headers(); d.bad {
		return nil, fmt.Errorf("%w: EVENT", ErrMalformed)
	}
	if size := len(p) - len(d.p); size > MaxHead {
		return nil, fmt.Errorf("%w: an event with pairs of %d bytes, at most %d are allowed", ErrTooLarge, size, MaxHead)
	}
	s.rest = d.p
	var ev pagi.Event
	if from == ToWorker {
		ev = s.toWorker()
	} else {
		ev = s.toGateway(&d)
	}
	if ev == nil || d.bad {
		return nil, fmt.Errorf("%w: EVENT of kind 0x%02x", ErrMalformed, s.kind)
	}
	return ev, nil
}

func (s *shape) more() bool { return s.bits&bitMore != 0 }

// message returns the text or the bytes of a WebSocket message.
func (s *shape) message() (text string, b []byte, binary bool) {
	if s.bits&bitBinary != 0 {
		return "", s.rest, true
	}
	return string(s.rest), nil, false
}

// toWorker returns the event from the gateway; nil if there is none of this kind.
func (s *shape) toWorker() pagi.Event {
	switch s.kind {
	case kindHTTPRequest:
		return pagi.HTTPRequest{Body: s.rest, More: s.more(), Trailers: s.headers}
	case kindSSERequest:
		return pagi.SSERequest{Body: s.rest, More: s.more(), Trailers: s.headers}
	case kindWebSocketConnect:
		return pagi.WebSocketConnect{}
	case kindWebSocketReceive:
		text, b, binary := s.message()
		return pagi.WebSocketReceive{Text: text, Bytes: b, Binary: binary}
	case kindLifespanStartup:
		return pagi.LifespanStartup{}
	case kindLifespanShutdown:
		return pagi.LifespanShutdown{}
	}
	return nil
}

// toGateway returns the event from the worker; nil if there is none of this kind. It marks d as bad where a pair
// has a value that it must not have.
func (s *shape) toGateway(d *decoder) pagi.Event {
	switch s.kind {
	case kindHTTPInformational:
		return pagi.HTTPResponseInformational{Status: s.number, Headers: s.headers}
	case kindHTTPStart:
		return pagi.HTTPResponseStart{Status: s.number, Headers: s.headers, Trailers: s.bits&bitTrailers != 0}
	case kindHTTPBody:
		return pagi.HTTPResponseBody{Body: s.rest, More: s.more()}
	case kindHTTPFile:
		return HTTPFile{s.file(d)}
	case kindHTTPTrailers:
		return pagi.HTTPResponseTrailers{Headers: s.headers}
	case kindHTTPFullFlush:
		return pagi.HTTPFullFlush{}
	case kindWebSocketAccept:
		return pagi.WebSocketAccept{Subprotocol: string(s.rest), Headers: s.headers}
	case kindWebSocketSend:
		text, b, binary := s.message()
		return pagi.WebSocketSend{Text: text, Bytes: b, Binary: binary}
	case kindWebSocketKeep:
		return pagi.WebSocketKeepalive{Interval: s.time(d, "interval"), Timeout: s.time(d, "timeout")}
	case kindWebSocketClose:
		return pagi.WebSocketClose{Code: s.number, Reason: string(s.rest)}
	case kindWebSocketStart:
		return pagi.WebSocketHTTPResponseStart{Status: s.number, Headers: s.headers}
	case kindWebSocketBody:
		return pagi.WebSocketHTTPResponseBody{Body: s.rest, More: s.more()}
	case kindSSEStart:
		return pagi.SSEStart{Status: s.number, Headers: s.headers}
	case kindSSESend:
		return pagi.SSESend{
			Event: s.headers.Get("event"), ID: s.headers.Get("id"), Data: string(s.rest),
			Retry: s.time(d, "retry"), HasRetry: s.headers.Has("retry"),
		}
	case kindSSEComment:
		return pagi.SSEComment{Comment: string(s.rest)}
	case kindSSEKeep:
		return pagi.SSEKeepalive{Interval: s.time(d, "interval"), Comment: string(s.rest)}
	case kindSSEClose:
		return pagi.SSEClose{Reason: string(s.rest)}
	case kindSSEHTTPStart:
		return pagi.SSEHTTPResponseStart{Status: s.number, Headers: s.headers}
	case kindSSEHTTPBody:
		return pagi.SSEHTTPResponseBody{Body: s.rest, More: s.more()}
	case kindStartupComplete:
		return pagi.LifespanStartupComplete{}
	case kindStartupFailed:
		return pagi.LifespanStartupFailed{Message: string(s.rest)}
	case kindShutdownComplete:
		return pagi.LifespanShutdownComplete{}
	case kindShutdownFailed:
		return pagi.LifespanShutdownFailed{Message: string(s.rest)}
	}
	return nil
}

// maxTime is the longest interval that an event may have.
const maxTime = 365 * 24 * time.Hour

// time reads a pair with milliseconds.
func (s *shape) time(d *decoder, name string) time.Duration {
	return time.Duration(d.number(s.headers.Get(name), int(maxTime.Milliseconds()))) * time.Millisecond
}

func (s *shape) file(d *decoder) FileRef {
	ref := FileRef{Length: pagi.ToEnd, Path: string(s.rest)}
	number := func(name string) uint64 {
		text := s.headers.Get(name)
		if text == "" {
			return 0
		}
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			d.bad = true
		}
		return n
	}
	ref.Device, ref.Inode, ref.Offset = number("device"), number("inode"), int64(number("offset"))
	if s.headers.Has("length") {
		ref.Length = int64(number("length"))
		d.bad = d.bad || ref.Length < 0
	}
	if ref.Offset < 0 || ref.Path != "" && ref.Path[0] != '/' {
		d.bad = true
	}
	return ref
}
