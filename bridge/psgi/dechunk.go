package psgi

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pagi-go/pagi-bridge/bridge/internal/coding"
	"github.com/pagi-go/pagi-bridge/bridge/pool"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// errChunk says that an application announced a chunked body whose chunks are broken.
var errChunk = errors.New("psgi: the application announced a chunked body but its chunks are broken")

// dechunker takes the chunked coding (RFC 9112 section 7.1) off an answer. PSGI leaves framing to
// the server. But some frameworks, such as Mojolicious, frame an HTTP/1.1 answer themselves and set
// Transfer-Encoding.
type dechunker struct {
	state chunkState
	line  []byte // the size line or trailer line that is being read
	left  int64  // the rest of the chunk that is being read
}

type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkData
	chunkDataEnd
	chunkTrailer
	chunkDone
)

// maxChunkLine is the longest size line, with extensions, or trailer line.
const maxChunkLine = 4096

// isChunked reports whether the application framed its body itself, and removes the header
// Transfer-Encoding. Any other coding is an error, as in the answer of a CGI script.
func isChunked(headers *pagi.Headers) (bool, error) {
	values := slices.Collect(headers.Values("transfer-encoding"))
	if len(values) == 0 {
		return false, nil
	}
	chunked, err := coding.Chunked(values, headers.Has("content-length"))
	if err != nil {
		return false, &pagi.StatusError{Status: 502, Message: "Bad Gateway", Err: fmt.Errorf("psgi: the application's answer: %w", err)}
	}
	headers.Del("transfer-encoding")
	return chunked, nil
}

// take removes the coding from the body of a piece. After an error the client gets a 502 if the
// answer has not begun.
func (d *dechunker) take(piece *pool.Piece) error {
	if piece.File != nil {
		return nil // a file is sent as it is
	}
	var err error
	if piece.Body, err = d.decode(piece.Body); err == nil && piece.Last {
		err = d.end()
	}
	if err != nil {
		return &pagi.StatusError{Status: 502, Message: "Bad Gateway", Err: err}
	}
	return nil
}

// decode removes the coding from p, in place, and returns what is left.
func (d *dechunker) decode(p []byte) ([]byte, error) {
	out := p[:0]
	for len(p) > 0 {
		switch d.state {
		case chunkData:
			n := int(min(d.left, int64(len(p))))
			out = append(out, p[:n]...)
			p = p[n:]
			if d.left -= int64(n); d.left == 0 {
				d.state = chunkDataEnd
			}
			continue
		case chunkDone:
			return nil, errChunk
		}
		c := p[0]
		p = p[1:]
		if c != '\n' {
			if d.line = append(d.line, c); len(d.line) > maxChunkLine {
				return nil, errChunk
			}
			continue
		}
		line := strings.TrimSuffix(string(d.line), "\r")
		d.line = d.line[:0]
		if err := d.endOfLine(line); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (d *dechunker) endOfLine(line string) error {
	switch d.state {
	case chunkSize:
		digits, _, _ := strings.Cut(line, ";")
		size, err := strconv.ParseInt(strings.TrimSpace(digits), 16, 64)
		if err != nil || size < 0 {
			return errChunk
		}
		if d.left, d.state = size, chunkData; size == 0 {
			d.state = chunkTrailer
		}
	case chunkDataEnd:
		if line != "" {
			return errChunk
		}
		d.state = chunkSize
	case chunkTrailer:
		if line == "" {
			d.state = chunkDone
		}
	}
	return nil
}

// end returns an error unless the body was complete. An empty body, as in answer to HEAD, is
// complete.
func (d *dechunker) end() error {
	if d.state != chunkDone && !(d.state == chunkSize && len(d.line) == 0) {
		return errChunk
	}
	return nil
}
