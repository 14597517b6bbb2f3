package request

import (
	"errors"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// BodyStream reads a body piece by piece. One goroutine may use it. After an error every further call
// returns that error; after the end, io.EOF.
type BodyStream struct {
	src   *Body
	limit int64 // 0: none
	read  int64
	rest  []byte // of the piece that Read has begun
	cut   []byte // the beginning of a character at the end of a piece of text
	err   error
}

// BodyStream returns the body as a stream of at most Limits.Total bytes. It can be had once, and not
// when the body was read otherwise: the error is ErrStreamed or ErrBuffered then.
func (r *Request) BodyStream() (*BodyStream, error) {
	if err := r.openStream(); err != nil {
		return nil, err
	}
	return &BodyStream{src: BodyReader(r.ctx, r.receive), limit: or(r.Limits.Total, gib)}, nil
}

// openStream takes the body for a stream.
func (r *Request) openStream() error {
	b := r.body()
	b.mu.Lock()
	defer b.mu.Unlock()
	switch b.state {
	case untouched:
		if r.scope.Type == pagi.TypeWebSocket {
			return errNoBody
		}
		b.state = streamed
		return nil
	case failed:
		return b.err
	case streamed:
		return ErrStreamed
	}
	return ErrBuffered
}

// Next returns the next piece, of whatever size, valid until the next call. The error is io.EOF at
// the end, ErrDisconnected, a *BodyError of ErrTooLarge, or one of Receive.
func (s *BodyStream) Next() ([]byte, error) {
	if piece := append(s.cut, s.rest...); len(piece) > 0 { // of a NextText, and of a Read
		s.cut, s.rest = nil, nil
		return piece, nil
	}
	for s.err == nil {
		var piece []byte
		if piece, s.err = s.src.piece(); s.err != nil {
			break
		}
		if s.read += int64(len(piece)); s.limit > 0 && s.read > s.limit {
			s.err = tooLarge("the body", s.limit, "bytes")
			break
		}
		if len(piece) > 0 {
			return piece, nil
		}
	}
	return nil, s.err
}

// NextText returns the next piece as text. A character that is cut in two by the border of pieces
// comes whole with the second one. For bytes that are not UTF-8 the error is a *BodyError of
// ErrMalformed.
func (s *BodyStream) NextText() (string, error) {
	for {
		cut := s.cut
		s.cut = nil
		piece, err := s.Next()
		if err == io.EOF && len(cut) > 0 {
			s.err = malformed("the body ends in the middle of a character", nil)
			return "", s.err
		}
		if err != nil {
			return "", err
		}
		text := append(cut, piece...)
		end := len(text) - incomplete(text)
		if !utf8.Valid(text[:end]) {
			s.err = malformed("the body is not UTF-8", nil)
			return "", s.err
		}
		whole := string(text[:end])
		s.cut = append([]byte(nil), text[end:]...)
		if whole != "" {
			return whole, nil
		}
	}
}

// incomplete returns how many bytes at the end of text are the beginning of a character.
func incomplete(text []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if last := text[len(text)-n:]; utf8.RuneStart(last[0]) {
			if utf8.FullRune(last) {
				return 0
			}
			return n
		}
	}
	return 0
}

// Read implements io.Reader.
func (s *BodyStream) Read(p []byte) (int, error) {
	piece, err := s.Next()
	if err != nil {
		return 0, err
	}
	n := copy(p, piece)
	s.rest = piece[n:]
	return n, nil
}

// WriteTo writes the rest of the body to w. If w fails, the stream does, too.
func (s *BodyStream) WriteTo(w io.Writer) (int64, error) {
	written, err := writePieces(w, s.Next)
	if err != nil && s.err == nil {
		s.err = err
	}
	return written, err
}

// writePieces writes the pieces that next returns, up to io.EOF. The error is that of next or of w.
func writePieces(w io.Writer, next func() ([]byte, error)) (written int64, err error) {
	for {
		piece, err := next()
		if err == io.EOF {
			return written, nil
		}
		if err != nil {
			return written, err
		}
		n, err := w.Write(piece)
		if err == nil && n < len(piece) {
			err = io.ErrShortWrite
		}
		if written += int64(n); err != nil {
			return written, err
		}
	}
}

// Save writes the rest of the body to a new file that only its owner can read. It fails if the file
// exists, and removes what it has written of it when reading or writing fails.
func (s *BodyStream) Save(path string) (int64, error) { return saveTo(path, s) }

// Trailers returns the trailers of the request once the stream has ended.
func (s *BodyStream) Trailers() pagi.Headers { return s.src.Trailers() }

// saveTo writes from to a new file.
func saveTo(path string, from io.WriterTo) (n int64, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return 0, fmt.Errorf("save a body: %w", err)
	}
	n, err = from.WriteTo(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return n, errors.Join(err, os.Remove(path))
	}
	return n, nil
}
