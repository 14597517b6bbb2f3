// Package wire is the frame protocol between the gateway and a worker process. PROTOCOL.md beside
// this file defines it, for authors of workers in other languages. This package is the gateway's
// side.
//
// The package knows nothing of processes, HTTP servers or Perl. It does not trust what a worker
// sends: it checks every length against the bytes that are there. A frame whose lengths are wrong
// is an error, never a panic.
package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Version is the newest version of the protocol that this package speaks; see Supported.
const Version = 3

const (
	// HeaderSize is the size of a frame's header in bytes.
	HeaderSize = 10
	// MaxPayload is the largest payload either side may send; see Type.MaxPayload.
	MaxPayload = 16 << 20
	// MaxHead is the largest head of a response: status and headers.
	MaxHead = 256 << 10
	// MaxMessage is the longest message of an ABORT, and the longest text of a LOG.
	MaxMessage = 64 << 10
)

// Type is a frame's type.
type Type uint8

// Frames from the gateway to a worker.
const (
	Request    Type = 0x01
	Cancel     Type = 0x02
	Drain      Type = 0x03
	Fork       Type = 0x04
	Names      Type = 0x05
	Scope      Type = 0x06
	Disconnect Type = 0x07
	Reply      Type = 0x08
)

// Frames from a worker to the gateway.
const (
	Hello         Type = 0x10
	Ready         Type = 0x11
	Failed        Type = 0x12
	Response      Type = 0x13
	Body          Type = 0x14
	File          Type = 0x15
	Informational Type = 0x16
	Abort         Type = 0x17
	Log           Type = 0x18
	Idle          Type = 0x19
	Exiting       Type = 0x1a
	Forked        Type = 0x1b
	Loaded        Type = 0x1c
	Exited        Type = 0x1d
	End           Type = 0x1e
	Call          Type = 0x1f
	Count         Type = 0x26
)

// Frames from either side.
const (
	Welcome   Type = 0x20
	Refused   Type = 0x21
	Ping      Type = 0x22
	Pong      Type = 0x23
	Credit    Type = 0x24
	EventPart Type = 0x25 // EVENT: an event, or a part of one
)

var typeNames = map[Type]string{
	Request: "REQUEST", Cancel: "CANCEL", Drain: "DRAIN", Fork: "FORK", Names: "NAMES",
	Hello: "HELLO", Ready: "READY", Failed: "FAILED", Response: "RESPONSE", Body: "BODY", File: "FILE",
	Informational: "INFORMATIONAL", Abort: "ABORT", Log: "LOG", Idle: "IDLE", Exiting: "EXITING",
	Forked: "FORKED", Loaded: "LOADED", Exited: "EXITED",
	Scope: "SCOPE", Disconnect: "DISCONNECT", Reply: "REPLY", End: "END", Call: "CALL", Count: "COUNT",
	Welcome: "WELCOME", Refused: "REFUSED", Ping: "PING", Pong: "PONG", Credit: "CREDIT", EventPart: "EVENT",
}

func (t Type) String() string {
	if name, ok := typeNames[t]; ok {
		return name
	}
	return fmt.Sprintf("0x%02x", uint8(t))
}

// MaxPayload is the largest payload that a frame of the type may have, in bytes.
func (t Type) MaxPayload() uint32 {
	switch t {
	case Request, Response, Body, EventPart:
		return MaxPayload
	}
	return 1 << 20
}

// Flags of a frame.
const (
	// FlagFin marks the last frame of an answer.
	FlagFin uint8 = 0x01
	// FlagBusy, beside FlagFin, says that the worker is not free yet; an IDLE
	// frame follows when it is.
	FlagBusy uint8 = 0x02
	// FlagBodyFile, on a REQUEST, says that the path of a file with the body follows the values,
	// and not the body itself.
	FlagBodyFile uint8 = 0x04
	// FlagDescriptor says that a descriptor belongs to the frame.
	FlagDescriptor uint8 = 0x08
	// FlagPart, on an EVENT, says that the event goes on in the next EVENT of the stream.
	FlagPart uint8 = 0x10
	// FlagQuiet, on a CALL, says that no REPLY is wanted.
	FlagQuiet uint8 = 0x20
)

// Kinds of ABORT.
const (
	// AbortDied: the application threw an exception.
	AbortDied = 1
	// AbortInvalid: the application's answer is not a response.
	AbortInvalid = 2
	// AbortCut: the application left its answer unfinished.
	AbortCut = 3
)

// Levels of LOG, carried in the frame's flags.
const (
	LevelError = 1
	LevelWarn  = 2
	LevelInfo  = 3
	LevelDebug = 4
)

// ErrNUL is the error for a request with a NUL in one of its values.
var ErrNUL = errors.New("wire: a NUL in a request's variables")

// Errors of decoding. Both mean that the worker breaks the protocol and must be given up.
var (
	ErrTooLarge  = errors.New("wire: frame over the size limit")
	ErrMalformed = errors.New("wire: malformed frame")
)

// Frame is a decoded frame. Payload belongs to the caller of the reader. Buffer is the buffer of
// the allocator that holds Payload, or nil without an allocator.
type Frame struct {
	Type    Type
	Flags   uint8
	Stream  uint32
	Payload []byte
	Buffer  *[]byte
}

// Allocator returns a buffer of length n, which may have been used before.
type Allocator func(n int) *[]byte

// Has reports whether the flag is set.
func (f *Frame) Has(flag uint8) bool { return f.Flags&flag != 0 }

// ReadFrame reads one frame. alloc gives the payload's buffer; nil stands for make. The error is
// io.EOF only between two frames; within a frame it is io.ErrUnexpectedEOF.
func ReadFrame(r io.Reader, alloc Allocator) (Frame, error) {
	var header [HeaderSize]byte
	return readFrame(r, header[:], alloc)
}

// Reader reads frames without allocating anything but their payloads.
type Reader struct {
	r      io.Reader
	alloc  Allocator
	header [HeaderSize]byte
}

// NewReader returns a Reader; r should be buffered. For alloc see ReadFrame.
func NewReader(r io.Reader, alloc Allocator) *Reader {
	return &Reader{r: r, alloc: alloc}
}

// Next reads one frame, as ReadFrame does.
func (r *Reader) Next() (Frame, error) { return readFrame(r.r, r.header[:], r.alloc) }

func readFrame(r io.Reader, header []byte, alloc Allocator) (Frame, error) {
	if _, err := io.ReadFull(r, header); err != nil {
		return Frame{}, err
	}
	length := binary.BigEndian.Uint32(header)
	f := Frame{
		Stream: binary.BigEndian.Uint32(header[4:]),
		Type:   Type(header[8]),
		Flags:  header[9],
	}
	if most := f.Type.MaxPayload(); length > most {
		return Frame{}, fmt.Errorf("%w: %s of %d bytes, at most %d are allowed", ErrTooLarge, f.Type, length, most)
	}
	if length == 0 {
		return f, nil
	}
	if alloc == nil {
		f.Payload = make([]byte, length)
	} else {
		f.Buffer = alloc(int(length))
		f.Payload = *f.Buffer
	}
	if _, err := io.ReadFull(r, f.Payload); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return Frame{}, err
	}
	return f, nil
}

// AppendFrame appends a whole frame.
func AppendFrame(b []byte, t Type, flags uint8, stream uint32, payload []byte) []byte {
	b = appendHeader(b, len(payload), t, flags, stream)
	return append(b, payload...)
}

func appendHeader(b []byte, length int, t Type, flags uint8, stream uint32) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(length))
	b = binary.BigEndian.AppendUint32(b, stream)
	return append(b, byte(t), flags)
}
