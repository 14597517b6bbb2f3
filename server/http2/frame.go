package http2

import "encoding/binary"

// headLength is how long a frame's head is (RFC 9113 section 4.1).
const headLength = 9

// Kinds of frames (RFC 9113 section 6).
const (
	frameData         = 0x0
	frameHeaders      = 0x1
	frameReset        = 0x3
	frameSettings     = 0x4
	frameGoAway       = 0x7
	frameWindowUpdate = 0x8
	frameContinuation = 0x9
)

// Flags of frames.
const (
	flagEndStream  = 0x1
	flagAck        = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

// frameHead is the head of a frame.
type frameHead struct {
	length int
	kind   byte
	flags  byte
	stream uint32
}

func parseHead(p []byte) frameHead {
	return frameHead{
		length: int(p[0])<<16 | int(p[1])<<8 | int(p[2]),
		kind:   p[3], flags: p[4],
		stream: binary.BigEndian.Uint32(p[5:]) &^ (1 << 31),
	}
}

// appendFrame appends a whole frame.
func appendFrame(to []byte, kind, flags byte, stream uint32, payload ...byte) []byte {
	n := len(payload)
	to = append(to, byte(n>>16), byte(n>>8), byte(n), kind, flags)
	return append(binary.BigEndian.AppendUint32(to, stream), payload...)
}

// frameReader follows frames that pass in pieces of any size.
type frameReader struct {
	head []byte // the head of the frame that has begun, as far as it has come, and the code of a RST_STREAM
	left int    // how many bytes of its payload are to come
	seen func(frame frameHead, code uint32)
}

// resetLength is how long the payload of RST_STREAM is: an error code (RFC 9113 section
// 6.4).
const resetLength = 4

// advance follows the frames in p. It calls seen for each frame when it has its head and, of a
// RST_STREAM, the code.
func (r *frameReader) advance(p []byte) {
	for len(p) > 0 {
		if r.left > 0 {
			n := min(r.left, len(p))
			r.left -= n
			p = p[n:]
			continue
		}
		want := headLength
		if len(r.head) >= headLength {
			want += resetLength
		}
		n := min(want-len(r.head), len(p))
		r.head = append(r.head, p[:n]...)
		p = p[n:]
		if len(r.head) < want {
			continue
		}
		head, code := parseHead(r.head), uint32(0)
		if head.kind == frameReset && head.length == resetLength {
			if want == headLength {
				continue
			}
			code, head.length = binary.BigEndian.Uint32(r.head[headLength:]), 0
		}
		r.left, r.head = head.length, r.head[:0]
		r.seen(head, code)
	}
}

// isBetween reports whether the last frame is complete.
func (r *frameReader) isBetween() bool { return len(r.head) == 0 && r.left == 0 }
