// Package fastcgi writes and reads the records of FastCGI 1.0, on the side of the web server. A
// connection has one request, whose number is 1. The package knows bytes only. What
// a request says is up to its caller, and so are connections and time limits.
package fastcgi

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The types of records that a web server sends and gets.
const (
	typeBegin  = 1
	typeAbort  = 2
	typeEnd    = 3
	typeParams = 4
	typeStdin  = 5
	typeStdout = 6
	typeStderr = 7
)

const (
	version   = 1
	requestID = 1
	headSize  = 8
	endSize   = 8 // of the content of a typeEnd
	// MaxContent is the largest content of a record.
	MaxContent = 1<<16 - 1
	// maxStderr is how much of what a request writes to its standard error is kept.
	maxStderr = 8 << 10
	responder = 1
)

// HeadSize is how many bytes PutStdin needs in front of the content.
const HeadSize = headSize

// AppendBegin appends the beginning of a request. The application is not asked to keep the connection.
func AppendBegin(out []byte) []byte {
	return appendRecord(out, typeBegin, []byte{0, responder, 0, 0, 0, 0, 0, 0})
}

// AppendAbort appends the wish that the request ends.
func AppendAbort(out []byte) []byte { return appendRecord(out, typeAbort, nil) }

// AppendStdinEnd appends the end of the request's body.
func AppendStdinEnd(out []byte) []byte { return appendRecord(out, typeStdin, nil) }

// AppendParams appends records with pairs of names and values, and the end of them. pairs are as
// AppendPair makes them.
func AppendParams(out, pairs []byte) []byte {
	for len(pairs) > 0 {
		n := min(len(pairs), MaxContent)
		out = appendRecord(out, typeParams, pairs[:n])
		pairs = pairs[n:]
	}
	return appendRecord(out, typeParams, nil)
}

// AppendPair appends a name and a value.
func AppendPair(out []byte, name, value string) []byte {
	out = appendLength(appendLength(out, len(name)), len(value))
	return append(append(out, name...), value...)
}

func appendLength(out []byte, n int) []byte {
	if n < 0x80 {
		return append(out, byte(n))
	}
	return binary.BigEndian.AppendUint32(out, uint32(n)|1<<31)
}

func appendRecord(out []byte, kind byte, content []byte) []byte {
	return append(append(out, version, kind, 0, requestID, byte(len(content)>>8), byte(len(content)), 0, 0), content...)
}

// PutStdin makes a record of a piece of the body, whose content has room for the head in front:
// record[HeadSize:] is the content, of at most MaxContent bytes.
func PutStdin(record []byte) {
	n := len(record) - headSize
	copy(record, []byte{version, typeStdin, 0, requestID, byte(n >> 8), byte(n), 0, 0})
}

// Reader reads what an application answers, and returns what it writes to its standard output.
// io.EOF is the orderly end of the request. A Read that a deadline has ended may be repeated. Every
// other error comes again.
type Reader struct {
	in        *bufio.Reader
	content   int // what is left of the record with standard output
	complaint int // what is left of the record with standard error
	padding   int // what is to be skipped behind these
	ended     bool
	stderr    []byte
}

// NewReader returns a Reader of a connection.
func NewReader(r io.Reader) *Reader { return &Reader{in: bufio.NewReaderSize(r, 16<<10)} }

// Stderr returns what the application has written to its standard error, at most 8 KiB.
func (r *Reader) Stderr() string { return string(r.stderr) }

// Read implements io.Reader.
func (r *Reader) Read(p []byte) (int, error) {
	for r.content == 0 || len(p) == 0 {
		if len(p) == 0 && !r.ended {
			return 0, nil
		}
		if err := r.settle(); err != nil {
			return 0, err
		}
		if r.ended {
			return 0, io.EOF
		}
		if err := r.record(); err != nil {
			return 0, err
		}
	}
	n, err := r.in.Read(p[:min(len(p), r.content)])
	r.content -= n
	if r.content > 0 && errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// settle reads what is left of a record whose standard output was read.
func (r *Reader) settle() error {
	for r.complaint > 0 {
		if _, err := r.in.Peek(1); err != nil {
			return unexpected(err)
		}
		p, _ := r.in.Peek(min(r.complaint, r.in.Buffered())) // so many bytes are in the buffer
		r.stderr = append(r.stderr, p[:min(len(p), maxStderr-len(r.stderr))]...)
		_, _ = r.in.Discard(len(p)) // these are in the buffer
		r.complaint -= len(p)
	}
	n, err := r.in.Discard(r.padding)
	r.padding -= n
	return unexpected(err)
}

// record reads the head of the next record. A record is looked at before it is taken, so that a
// deadline or a faulty record leaves it where it is.
func (r *Reader) record() error {
	head, err := r.in.Peek(headSize)
	if err != nil {
		if len(head) > 0 {
			return unexpected(err)
		}
		if errors.Is(err, io.EOF) {
			err = errEnded
		}
		return err
	}
	kind, id := head[1], binary.BigEndian.Uint16(head[2:])
	length, padding := int(binary.BigEndian.Uint16(head[4:])), int(head[6])
	if head[0] != version || id > requestID || id == 0 && kind >= typeBegin && kind <= typeStderr {
		return fmt.Errorf("malformed FastCGI record % x", head)
	}
	size := headSize
	switch {
	case id == 0: // about the connection: not asked for
		padding += length
	case kind == typeStdout:
		r.content = length
	case kind == typeStderr:
		r.complaint = length
	case kind == typeEnd && length == endSize:
		size += endSize
		all, err := r.in.Peek(size)
		if err != nil {
			return unexpected(err)
		}
		if err := refusal(all[headSize+4]); err != nil {
			return err
		}
		r.ended = true
	default:
		return fmt.Errorf("a FastCGI record of type %d with %d bytes, which is out of place", kind, length)
	}
	r.padding = padding
	_, err = r.in.Discard(size)
	return err
}

// errEnded is the error of a connection that ends before the request does.
var errEnded = fmt.Errorf("the connection has ended before the request: %w", io.ErrUnexpectedEOF)

// refusal returns what the status in the end of a request says; nil if the request was served.
func refusal(status byte) error {
	if status == 0 {
		return nil
	}
	why := map[byte]string{1: "it takes one request by each connection", 2: "it is overloaded", 3: "it is no responder"}[status]
	return fmt.Errorf("the FastCGI application refuses the request with status %d: %s", status, why)
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
