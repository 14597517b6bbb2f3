package coding

import (
	"crypto/rand"
	"encoding/binary"
	"strings"
)

// MaxPadding is the largest padding of a body in bytes.
const MaxPadding = 256

// random returns a number from 1 to most.
func random(most int) int {
	var b [4]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return 1 + int(binary.LittleEndian.Uint32(b[:])%uint32(most))
}

// pad makes the body about n bytes longer.
func (e *Encoder) pad(n int) {
	switch under := e.resetter.(type) {
	case gzipEncoder:
		// A file name in the header, which a zero byte ends (RFC 1952 section 2.3.1).
		under.Header.Name = strings.Repeat("x", n)
	case zstdEncoder:
		e.after = skippableFrame(n)
	default:
		e.before = metadataBlock(n)
	}
}

// skippableFrame returns a frame with n bytes that a decoder of Zstandard skips (RFC 8878 section
// 3.1.2). It stands behind the body, because some decoders stop at the end of the first frame.
func skippableFrame(n int) []byte {
	frame := make([]byte, 8+n)
	binary.LittleEndian.PutUint32(frame, 0x184D2A50)
	binary.LittleEndian.PutUint32(frame[4:], uint32(n))
	return frame
}

// metadataBlock returns a metadata block of brotli with n bytes, 1 to 256 (RFC 7932 section 9.2).
// It must begin at the border of a byte, as after a flush. Its bits, the lowest first, are: not the
// last block (0), no data (11), reserved (0), one byte for the length (01 as a number), the length
// less 1.
func metadataBlock(n int) []byte {
	block := make([]byte, 2+n)
	binary.LittleEndian.PutUint16(block, uint16(0b0110|1<<4|(n-1)<<6))
	return block
}
