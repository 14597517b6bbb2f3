package request

import (
	"bytes"
	"errors"
	"io"
)

const (
	// scanBuffer is how much of a multipart body is in memory.
	scanBuffer = 64 * kib
	// maxPartHeader is the largest Limits.PartHeader, so that headers fit into the buffer.
	maxPartHeader = scanBuffer / 2
)

// partScanner splits a multipart body at its boundaries (RFC 2046 section 5.1.1).
type partScanner struct {
	src     io.Reader
	room    []byte
	buf     []byte // of room: what was read and not used
	srcErr  error  // how src has ended
	delim   []byte // CRLF "--" boundary
	left    int64  // bytes that may still be read
	limit   int64  // 0: none
	inPart  bool   // a part's body comes next
	line    bool   // and in front of it, in buf, the end of the line that ends the headers
	finally bool   // the last boundary was read
}

func newPartScanner(src io.Reader, boundary string, limit int64) *partScanner {
	s := &partScanner{src: src, room: make([]byte, scanBuffer), delim: []byte("\r\n--" + boundary), limit: limit, left: limit}
	// The first boundary may stand at the beginning of the body, where nothing ends a line.
	s.buf = s.room[:copy(s.room, "\r\n")]
	s.inPart = true // of the preamble, which is dropped
	return s
}

// next drops the rest of the part, and returns the headers of the next one, without the empty line.
// It returns io.EOF after the last part, when the body has ended, too.
func (s *partScanner) next(maxHeader int) ([]byte, error) {
	for s.inPart {
		if _, err := s.piece(); err != nil && err != io.EOF {
			return nil, err
		}
	}
	if s.finally {
		return nil, s.drain()
	}
	for {
		if bytes.HasPrefix(s.buf, []byte("\r\n")) { // no headers
			s.inPart, s.line = true, true
			return nil, nil
		}
		if end := bytes.Index(s.buf, []byte("\r\n\r\n")); end >= 0 {
			if end > maxHeader {
				return nil, tooLarge("the headers of a part", maxHeader, "bytes")
			}
			header := s.buf[:end+2]
			s.buf = s.buf[end+2:]
			s.inPart, s.line = true, true
			return header, nil
		}
		if len(s.buf) > maxHeader+4 {
			return nil, tooLarge("the headers of a part", maxHeader, "bytes")
		}
		if err := s.fill(); err != nil {
			return nil, truncated(err)
		}
	}
}

// piece returns the next bytes of the part, valid until the next call. It returns io.EOF at the end
// of the part, behind its boundary.
func (s *partScanner) piece() ([]byte, error) {
	for s.inPart {
		if s.line {
			if err := s.begin(); err != nil {
				return nil, err
			}
		}
		i := bytes.Index(s.buf, s.delim)
		if i > 0 {
			return s.take(i), nil
		}
		if i == 0 {
			switch is, err := s.boundary(); {
			case err != nil:
				return nil, truncated(err)
			case is:
				s.inPart = false
				return nil, io.EOF
			}
			return s.take(len(s.delim)), nil // the boundary is the beginning of a longer word
		}
		// The end of the buffer may be the beginning of a boundary.
		if whole := len(s.buf) - len(s.delim) + 1; whole > 0 {
			if cr := bytes.IndexByte(s.buf[whole:], '\r'); cr >= 0 {
				whole += cr
			} else {
				whole = len(s.buf)
			}
			return s.take(whole), nil
		}
		if cr := bytes.IndexByte(s.buf, '\r'); cr != 0 && len(s.buf) > 0 {
			if cr < 0 {
				cr = len(s.buf)
			}
			return s.take(cr), nil
		}
		if err := s.fill(); err != nil {
			return nil, truncated(err)
		}
	}
	return nil, io.EOF
}

// begin drops the end of the line in front of a part's body, unless it belongs to a boundary: a
// part without a body may have none.
func (s *partScanner) begin() error {
	for len(s.buf) < len(s.delim) && bytes.HasPrefix(s.delim, s.buf) {
		if err := s.fill(); err != nil {
			return truncated(err)
		}
	}
	s.line = false
	if !bytes.HasPrefix(s.buf, s.delim) {
		s.buf = s.buf[2:]
		return nil
	}
	switch is, err := s.boundary(); {
	case err != nil:
		return truncated(err)
	case is:
		s.inPart = false
		return io.EOF
	}
	s.buf = s.buf[2:]
	return nil
}

func (s *partScanner) take(n int) []byte {
	piece := s.buf[:n]
	s.buf = s.buf[n:]
	return piece
}

// boundary reads the line of a boundary, with which the buffer begins. is is false if it is none.
func (s *partScanner) boundary() (is bool, err error) {
	for {
		switch rest := s.buf[len(s.delim):]; {
		case bytes.HasPrefix(rest, []byte("--")):
			s.buf, s.finally = rest[2:], true
			return true, nil
		default:
			padding := len(rest) - len(bytes.TrimLeft(rest, " \t"))
			switch line := rest[padding:]; {
			case bytes.HasPrefix(line, []byte("\r\n")):
				s.buf = line[2:]
				return true, nil
			case padding > 100, len(line) > 1, len(line) == 1 && line[0] != '\r' && (line[0] != '-' || padding > 0):
				return false, nil
			}
		}
		if err := s.fill(); err != nil {
			return false, err
		}
	}
}

// drain reads the body to its end, behind the last boundary.
func (s *partScanner) drain() error {
	for {
		s.buf = nil
		if err := s.fill(); err != nil {
			return err
		}
	}
}

// fill reads more into the buffer, at least a byte, or returns the error of the source.
func (s *partScanner) fill() error {
	if s.srcErr != nil {
		return s.srcErr
	}
	if len(s.buf) < kib || cap(s.buf) == len(s.buf) {
		s.buf = s.room[:copy(s.room, s.buf)]
	}
	room := s.buf[len(s.buf):cap(s.buf)]
	if s.limit > 0 && int64(len(room)) > s.left+1 {
		room = room[:s.left+1]
	}
	n, err := io.ReadAtLeast(s.src, room, 1)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = io.EOF
	}
	if s.left -= int64(n); s.limit > 0 && s.left < 0 {
		err = tooLarge("the body", s.limit, "bytes")
	}
	if s.srcErr = err; n == 0 || err != nil && err != io.EOF {
		return s.srcErr
	}
	s.buf = s.buf[:len(s.buf)+n]
	return nil
}

// truncated returns the error of a body that ends where a boundary must come.
func truncated(err error) error {
	if err == io.EOF {
		return malformed("the multipart body ends before its last boundary", nil)
	}
	return err
}
