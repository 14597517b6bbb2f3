package ws

import (
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/flate"
)

// maxWindow is how far back a compressed message may reach (RFC 1951 section 2).
const maxWindow = 32 << 10

// flateReader is what flate.NewReader returns.
type flateReader interface {
	io.Reader
	flate.Resetter
}

// nothing is the source of readers in the pool.
var nothing = strings.NewReader("")

// flateReaders are readers that have been reset. They hold nothing of a connection, and only the
// goroutine that takes one uses it.
var flateReaders = sync.Pool{New: func() any { return flate.NewReader(nothing) }}

// inflater reads compressed messages (RFC 7692 section 7.2.2). Between messages it holds only the
// bytes to which the client may refer.
type inflater struct {
	takeover bool
	window   []byte
}

// ending is the tail that a sender leaves out of every message, and an empty last block.
const ending = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

// inflate returns the message in from. A check that is not nil gets the text as it comes.
func (x *inflater) inflate(from *source, check *utf8Check, most int64) ([]byte, error) {
	r := flateReaders.Get().(flateReader)
	defer func() {
		_ = r.Reset(nothing, nil) // it must not hold on to the connection; it cannot fail
		flateReaders.Put(r)
	}()
	if err := r.Reset(from, x.window); err != nil {
		return nil, err
	}
	text := []byte{}
	for {
		text = slices.Grow(text, max(512, min(len(text), maxWindow)))
		room := text[len(text):cap(text)]
		n, err := r.Read(room)
		text = text[:len(text)+n]
		switch {
		case int64(len(text)) > most:
			return nil, tooLarge("message", optionMaxMessage)
		case check != nil && !check.add(room[:n]):
			return nil, errUTF8()
		case err == io.EOF:
			x.remember(text)
			return text, from.drain()
		case from.err != nil && from.err != io.EOF:
			return nil, from.err
		case err != nil:
			return nil, violation(codeInvalid, "the compressed message is broken")
		}
	}
}

// remember keeps the bytes to which the next message may refer.
func (x *inflater) remember(text []byte) {
	switch {
	case !x.takeover:
	case len(text) >= maxWindow:
		x.window = append(x.window[:0], text[len(text)-maxWindow:]...)
	default:
		if over := len(x.window) + len(text) - maxWindow; over > 0 {
			x.window = x.window[:copy(x.window, x.window[over:])]
		}
		x.window = append(x.window, text...)
	}
}

// source is the compressed payload of a message, over all its frames, with ending.
type source struct {
	c     *conn
	m     *message
	piece []byte
	ended bool
	err   error
}

func (s *source) more() error {
	for len(s.piece) == 0 {
		if s.err != nil {
			return s.err
		}
		if s.ended {
			s.err = io.EOF
			continue
		}
		p, err := s.c.next(s.m)
		switch {
		case err == io.EOF:
			s.piece, s.ended = []byte(ending), true
		case err != nil:
			s.err = err
		default:
			s.piece = p
		}
	}
	return nil
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	if err := s.more(); err != nil {
		return 0, err
	}
	n := copy(p, s.piece)
	s.piece = s.piece[n:]
	return n, nil
}

// ReadByte implements io.ByteReader, which keeps flate from reading past the end.
func (s *source) ReadByte() (byte, error) {
	if err := s.more(); err != nil {
		return 0, err
	}
	b := s.piece[0]
	s.piece = s.piece[1:]
	return b, nil
}

// drain reads the bytes behind a block that was marked as the last one.
func (s *source) drain() error {
	for s.piece = nil; s.more() == nil; {
		s.piece = nil
	}
	if s.err == io.EOF {
		return nil
	}
	return s.err
}
