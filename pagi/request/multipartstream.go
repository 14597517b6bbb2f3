package request

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// MultipartStream reads a multipart body part by part, so that large files need no memory. One
// goroutine may use it. After an error every further call returns that error.
type MultipartStream struct {
	scan   *partScanner
	limits Limits
	part   *Part
	fields int
	files  int
	err    error
}

// MultipartStream returns the parts of a multipart body, within Limits. It can be had once, and not
// when the body was read otherwise: the error is ErrStreamed or ErrBuffered then. For a body of
// another type it is a *BodyError of ErrWrongType.
func (r *Request) MultipartStream() (*MultipartStream, error) { return r.parts(r.Limits, nil) }

// parts opens the body, or src if there is one.
func (r *Request) parts(limits Limits, src io.Reader) (*MultipartStream, error) {
	mediaType, params := r.ContentType()
	boundary := params["boundary"]
	switch {
	case !strings.HasPrefix(mediaType, "multipart/"):
		return nil, &BodyError{Kind: ErrWrongType, Problem: "the body must be " + typeMultipart}
	case boundary == "" || len(boundary) > 70 || strings.ContainsAny(boundary, "\r\n"): // RFC 2046 section 5.1.1
		return nil, malformed("the boundary of the multipart body is missing or malformed", nil)
	}
	if src == nil {
		if err := r.openStream(); err != nil {
			return nil, err
		}
		src = BodyReader(r.ctx, r.receive)
	}
	limits.Fields, limits.Field = or(limits.Fields, 1000), or(limits.Field, mib)
	limits.Files, limits.File = or(limits.Files, 1000), or(limits.File, 100*mib)
	limits.Total = or(limits.Total, gib)
	if limits.PartHeader <= 0 {
		limits.PartHeader = 16 * kib
	}
	limits.PartHeader = min(limits.PartHeader, maxPartHeader)
	return &MultipartStream{scan: newPartScanner(src, boundary, limits.Total), limits: limits}, nil
}

// Next returns the next part, and skips what is left of the one before. The error is io.EOF after the
// last part, ErrDisconnected, a *BodyError, or one of Receive.
func (s *MultipartStream) Next() (*Part, error) {
	if s.part != nil && s.err == nil {
		_, _ = s.part.WriteTo(io.Discard) // its error is the stream's
	}
	if s.err != nil {
		return nil, s.err
	}
	header, err := s.scan.next(s.limits.PartHeader)
	if err != nil {
		return nil, s.fail(err)
	}
	part, err := newPart(s, header)
	if err != nil {
		return nil, s.fail(err)
	}
	if part.IsFile() {
		part.left = s.limits.File
		if s.files++; s.limits.Files > 0 && s.files > s.limits.Files {
			return nil, s.fail(tooLarge("the form", s.limits.Files, "files"))
		}
	} else {
		part.left = s.limits.Field
		if s.fields++; s.limits.Fields > 0 && s.fields > s.limits.Fields {
			return nil, s.fail(tooLarge("the form", s.limits.Fields, "fields"))
		}
	}
	part.limited = part.left > 0
	s.part = part
	return part, nil
}

func (s *MultipartStream) fail(err error) error {
	if s.err == nil {
		s.err = err
	}
	return s.err
}

// Part is one part of a MultipartStream. It can be read until the next one is asked for.
type Part struct {
	// Name is the name of the form's field; "" if the part has none.
	Name string
	// Filename is what Upload.Filename says.
	Filename string
	// Headers are those of the part.
	Headers pagi.Headers

	stream  *MultipartStream
	file    bool
	limited bool
	left    int64  // bytes that may come
	rest    []byte // of the piece that Read has begun
	done    bool
}

// IsFile reports whether the part has a file name, even an empty one.
func (p *Part) IsFile() bool { return p.file }

// piece returns the next bytes of the part, or io.EOF.
func (p *Part) piece() ([]byte, error) {
	s := p.stream
	if s.part != p {
		return nil, errors.New("the part was left for the next one")
	}
	if len(p.rest) > 0 {
		piece := p.rest
		p.rest = nil
		return piece, nil
	}
	if p.done {
		return nil, io.EOF
	}
	if s.err != nil {
		return nil, s.err
	}
	piece, err := s.scan.piece()
	if err == io.EOF {
		p.done = true
		return nil, io.EOF
	}
	if err != nil {
		return nil, s.fail(err)
	}
	if p.limited {
		if p.left -= int64(len(piece)); p.left < 0 {
			what, limit := "the field", s.limits.Field
			if p.file {
				what, limit = "the file of", s.limits.File
			}
			return nil, s.fail(tooLarge(what+" "+shown(p.Name), limit, "bytes"))
		}
	}
	return piece, nil
}

// shown shortens a name for a message.
func shown(name string) string {
	if len(name) > 60 {
		name = name[:60] + "..."
	}
	return fmt.Sprintf("%q", name)
}

// Read implements io.Reader.
func (p *Part) Read(to []byte) (int, error) {
	piece, err := p.piece()
	if err != nil {
		return 0, err
	}
	n := copy(to, piece)
	p.rest = piece[n:]
	return n, nil
}

// WriteTo writes the rest of the part to w. If w fails, the stream does, too.
func (p *Part) WriteTo(w io.Writer) (int64, error) {
	written, err := writePieces(w, p.piece)
	if err != nil && p.stream.part == p {
		return written, p.stream.fail(err)
	}
	return written, err
}

// Value returns the rest of the part as a string, at most Limits.Field bytes of it, also for a file.
func (p *Part) Value() (string, error) {
	var b strings.Builder
	for {
		piece, err := p.piece()
		if err == io.EOF {
			return b.String(), nil
		}
		if err != nil {
			return "", err
		}
		if limit := p.stream.limits.Field; limit > 0 && int64(b.Len()+len(piece)) > limit {
			return "", p.stream.fail(tooLarge("the value of "+shown(p.Name), limit, "bytes"))
		}
		b.Write(piece)
	}
}

// Save writes the rest of the part to a new file that only its owner can read. It fails if the file
// exists. When reading or writing fails it removes what it has written, and the stream fails, too.
func (p *Part) Save(path string) (int64, error) { return saveTo(path, p) }
