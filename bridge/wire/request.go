package wire

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// RequestBuilder makes a REQUEST frame in place. Call Begin, then Pair for each
// variable, then one of Body and BodyFile. The buffer is reused from one request
// to the next.
type RequestBuilder struct {
	table *NameTable
	buf   []byte    // the frame
	names []byte    // the names of its values, each behind its length
	set   *NameList // the list of all names, once they are known
	flags uint8
	nul   bool // a value has a NUL in it
}

// requestHead is the size of what stands before the values: the frame's header and the number of
// its list of names.
const requestHead = HeaderSize + 2

// Begin starts a new frame, forgetting the old one. Its names are kept in table,
// which all requests to the same workers must share.
func (b *RequestBuilder) Begin(table *NameTable) {
	b.table = table
	b.buf = append(b.buf[:0], make([]byte, requestHead)...)
	b.names = b.names[:0]
	b.flags, b.nul = 0, false
}

// Pair adds a variable. A value with a NUL makes Frame fail.
func (b *RequestBuilder) Pair(name, value string) {
	b.names = appendString(b.names, name)
	b.nul = b.nul || strings.IndexByte(value, 0) >= 0
	b.buf = append(append(b.buf, value...), 0)
}

// Body adds the request's body and ends the frame.
func (b *RequestBuilder) Body(p []byte) {
	b.buf = append(b.buf, p...)
	b.set = b.table.find(b.names)
}

// BodyFile names the file in which the request's body is, and ends the frame.
func (b *RequestBuilder) BodyFile(path string) {
	b.flags = FlagBodyFile
	b.Body([]byte(path))
}

// Names returns the names of the request's variables. A worker must have got their frame before the
// frame of the request, with no other list in the same place since.
func (b *RequestBuilder) Names() *NameList { return b.set }

// Frame finishes the frame for the given stream and returns it; it is valid until
// the next Begin. It can be called again with another stream. The error is
// ErrTooLarge or ErrNUL.
func (b *RequestBuilder) Frame(stream uint32) ([]byte, error) {
	length := len(b.buf) - HeaderSize
	if b.nul {
		return nil, ErrNUL
	}
	if length > MaxPayload {
		return nil, fmt.Errorf("%w: REQUEST of %d bytes, at most %d are allowed", ErrTooLarge, length, MaxPayload)
	}
	appendHeader(b.buf[:0], length, Request, b.flags, stream)
	binary.BigEndian.PutUint16(b.buf[HeaderSize:], uint16(b.set.Place))
	return b.buf, nil
}
