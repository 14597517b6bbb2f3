package wire

import (
	"encoding/binary"
	"fmt"
)

// EventCost is what an EVENT frame costs of the window beside its payload, in bytes.
const EventCost = HeaderSize

// MaxCredit is the most that a window may have, in bytes.
const MaxCredit = 1<<31 - 1

// Kinds of END. Those beside EndReturned tell why the application has not answered properly.
const (
	// EndReturned: the application has returned.
	EndReturned = 0
	// EndDied: it has thrown an exception.
	EndDied = 1
	// EndUnsupported: it does not serve scopes of this type.
	EndUnsupported = 2
	// EndInvalid: it has sent an event that it must not send.
	EndInvalid = 3
)

// Statuses of REPLY.
const (
	ReplyDone    = 0
	ReplyFailed  = 1
	ReplyUnknown = 2
)

// AppendCredit appends a CREDIT frame.
func AppendCredit(b []byte, stream, bytes uint32) []byte {
	b = appendHeader(b, 4, Credit, 0, stream)
	return binary.BigEndian.AppendUint32(b, bytes)
}

// DecodeCredit decodes a CREDIT frame.
func DecodeCredit(p []byte) (bytes uint32, err error) {
	d := decoder{p: p}
	bytes = d.uint32()
	if len(d.p) > 0 {
		d.bad = true
	}
	return bytes, d.err(Credit)
}

// DecodePing decodes a PING or PONG frame.
func DecodePing(t Type, p []byte) (token [8]byte, err error) {
	if len(p) != len(token) {
		return token, fmt.Errorf("%w: %s of %d bytes", ErrMalformed, t, len(p))
	}
	return [8]byte(p), nil
}

// AppendDisconnect appends a DISCONNECT frame.
func AppendDisconnect(b []byte, stream uint32, code int, reason string) []byte {
	b = appendHeader(b, 2+len(reason), Disconnect, 0, stream)
	b = binary.BigEndian.AppendUint16(b, uint16(code))
	return append(b, reason...)
}

// DecodeDisconnect decodes a DISCONNECT frame.
func DecodeDisconnect(p []byte) (code int, reason string, err error) {
	d := decoder{p: p}
	code = int(d.uint16())
	return code, string(d.p), d.err(Disconnect)
}

// AppendEnd appends an END frame. A message longer than MaxMessage is cut.
func AppendEnd(b []byte, stream uint32, kind uint8, message string) []byte {
	message = message[:min(len(message), MaxMessage)]
	b = appendHeader(b, 1+len(message), End, 0, stream)
	return append(append(b, kind), message...)
}

// DecodeEnd decodes an END frame.
func DecodeEnd(p []byte) (kind int, message string, err error) {
	d := decoder{p: p}
	kind = int(d.uint8())
	if len(d.p) > MaxMessage {
		return 0, "", fmt.Errorf("%w: %s with a message of %d bytes, at most %d are allowed", ErrTooLarge, End, len(d.p), MaxMessage)
	}
	if kind > EndInvalid {
		d.bad = true
	}
	return kind, string(d.p), d.err(End)
}

// AppendCall appends a CALL frame.
func AppendCall(b []byte, id uint32, flags uint8, name string, argument []byte) []byte {
	return AppendFrame(b, Call, flags, id, append(appendString(nil, name), argument...))
}

// DecodeCall decodes a CALL frame. The argument shares p's memory.
func DecodeCall(p []byte) (name string, argument []byte, err error) {
	d := decoder{p: p}
	name = string(d.take(int(d.uint32())))
	if len(d.p) > MaxMessage {
		return "", nil, fmt.Errorf("%w: %s with an argument of %d bytes, at most %d are allowed", ErrTooLarge, Call, len(d.p), MaxMessage)
	}
	if !isCallName(name) {
		d.bad = true
	}
	return name, d.p, d.err(Call)
}

func isCallName(name string) bool {
	if name == "" || len(name) > 64 {
		return false
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return true
}

// AppendReply appends a REPLY frame.
func AppendReply(b []byte, id uint32, status uint8, result []byte) []byte {
	b = appendHeader(b, 1+len(result), Reply, 0, id)
	return append(append(b, status), result...)
}

// DecodeReply decodes a REPLY frame. The result shares p's memory.
func DecodeReply(p []byte) (status int, result []byte, err error) {
	d := decoder{p: p}
	status = int(d.uint8())
	if len(d.p) > MaxMessage {
		return 0, nil, fmt.Errorf("%w: %s of %d bytes, at most %d are allowed", ErrTooLarge, Reply, len(d.p), MaxMessage)
	}
	if status > ReplyUnknown {
		d.bad = true
	}
	return status, d.p, d.err(Reply)
}
