package ws

import (
	"encoding/binary"
	"io"
	"sync"

	"github.com/gorilla/websocket"
)

// Opcodes (RFC 6455 section 5.2).
const (
	opContinuation = 0
	opText         = websocket.TextMessage
	opBinary       = websocket.BinaryMessage
	opClose        = websocket.CloseMessage
	opPing         = websocket.PingMessage
	opPong         = websocket.PongMessage
)

// Bits of a frame's first two bytes.
const (
	bitFin    = 0x80
	bitRSV1   = 0x40
	bitsRSV23 = 0x30
	bitMask   = 0x80
)

// maxControl is how much a control frame may carry (section 5.5).
const maxControl = 125

const (
	// smallInput is the size of the read buffer at rest. largeInput is its size in the middle of a
	// larger frame.
	smallInput = 512
	largeInput = 16 << 10
)

// largeInputs are empty large buffers. Only the goroutine that calls Receive uses the input of a
// connection, and it copies a message out of it, so that a buffer can be given back.
var largeInputs = sync.Pool{New: func() any { return new([largeInput]byte) }}

// input is the read buffer of a connection.
type input struct {
	from  io.Reader
	buf   []byte // small, or large's
	r, w  int    // the unread part of it
	small []byte
	large *[largeInput]byte
}

func (in *input) init(from io.Reader, ahead []byte) {
	in.from = from
	in.small = make([]byte, max(smallInput, len(ahead)))
	in.buf = in.small
	in.w = copy(in.buf, ahead)
}

// need returns the next n bytes, at most smallInput, and leaves them unread.
func (in *input) need(n int) ([]byte, error) {
	for in.w-in.r < n {
		if err := in.fill(); err != nil {
			return nil, err
		}
	}
	return in.buf[in.r : in.r+n], nil
}

// fill reads more.
func (in *input) fill() error {
	if in.r > 0 {
		in.w = copy(in.buf, in.buf[in.r:in.w])
		in.r = 0
	}
	n, err := in.from.Read(in.buf[in.w:])
	in.w += n
	if n > 0 {
		return nil // the next read returns the error again
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// enlarge takes a large buffer, unless there is one already for bytes that were read ahead.
func (in *input) enlarge() {
	if in.large == nil && len(in.buf) < largeInput {
		in.large = largeInputs.Get().(*[largeInput]byte)
		in.w = copy(in.large[:], in.buf[in.r:in.w])
		in.r, in.buf = 0, in.large[:]
	}
}

// shrink gives the large buffer back once it is empty.
func (in *input) shrink() {
	if in.large != nil && in.r == in.w {
		largeInputs.Put(in.large)
		in.large, in.buf, in.r, in.w = nil, in.small, 0, 0
	}
}

// header is that of a frame.
type header struct {
	fin, rsv1 bool
	op        byte
	size      int64
	mask      [4]byte
}

// readHeader reads a header and makes the checks that need no other frame.
func (in *input) readHeader() (h header, err error) {
	p, err := in.need(2)
	if err != nil {
		return h, err
	}
	h.fin, h.rsv1, h.op = p[0]&bitFin != 0, p[0]&bitRSV1 != 0, p[0]&0xf
	size, masked, length := int64(p[1]&^bitMask), p[1]&bitMask != 0, 2
	switch {
	case p[0]&bitsRSV23 != 0:
		return h, violation(codeProtocol, "a reserved bit is set")
	case h.op > opBinary && h.op < opClose || h.op > opPong:
		return h, violation(codeProtocol, "the opcode %d is reserved", h.op)
	case !masked:
		return h, violation(codeProtocol, "the frame is not masked")
	case h.op >= opClose && (size > maxControl || !h.fin || h.rsv1):
		return h, violation(codeProtocol, "a control frame is too large, fragmented or compressed")
	case size == 126:
		length += 2
	case size == 127:
		length += 8
	}
	if p, err = in.need(length + 4); err != nil {
		return h, err
	}
	switch shortest := int64(0); length {
	case 4:
		size, shortest = int64(binary.BigEndian.Uint16(p[2:])), 126
		if size < shortest {
			return h, violation(codeProtocol, "the frame's length is not in its shortest form")
		}
	case 10:
		size, shortest = int64(binary.BigEndian.Uint64(p[2:])), 1<<16
		if size < shortest { // also where the first bit is set, which is forbidden
			return h, violation(codeProtocol, "the frame's length is not in its shortest form")
		}
	}
	h.size = size
	copy(h.mask[:], p[length:])
	in.r += length + 4
	return h, nil
}

// unmask applies mask to p. at is the position of p's first byte in the payload of the frame
// (section 5.3).
func unmask(p []byte, mask [4]byte, at int64) {
	if len(p) >= 16 {
		for at&3 != 0 {
			p[0] ^= mask[at&3]
			p = p[1:]
			at++
		}
		word := uint64(binary.LittleEndian.Uint32(mask[:]))
		word |= word << 32
		for len(p) >= 8 {
			binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^word)
			p = p[8:]
		}
	}
	for i := range p {
		p[i] ^= mask[(at+int64(i))&3]
	}
}

// appendHeader appends the header of a whole message as a server sends it: unmasked.
func appendHeader(out []byte, op byte, compressed bool, size int) []byte {
	first := bitFin | op
	if compressed {
		first |= bitRSV1
	}
	switch {
	case size < 126:
		return append(out, first, byte(size))
	case size < 1<<16:
		return binary.BigEndian.AppendUint16(append(out, first, 126), uint16(size))
	}
	return binary.BigEndian.AppendUint64(append(out, first, 127), uint64(size))
}
