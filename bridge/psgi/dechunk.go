package psgi

import (
	"errors"
	"strconv"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// errChunk says that an application announced a chunked body and sent another.
var errChunk = errors.New("psgi: the application announced a chunked body but its chunks are broken")

// dechunker takes the chunked coding (RFC 9112 section 7.1) off an answer. PSGI
// leaves framing to the server, but some frameworks, Mojolicious for one, do it
// themselves where the protocol is HTTP/1.1, and say so in Transfer-Encoding.
type dechunker struct {
	state chunkState
	line  []byte // of the size or trailer being read
	left  int64  // of the chunk being read
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

// isChunked reports whether the application framed its body itself, and takes the
// header that says so away.
func isChunked(headers *pagi.Headers) bool {
	if !headers.HasToken("transfer-encoding", "chunked") {
		return false
	}
	headers.Del("transfer-encoding")
	return true
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

// end reports whether the body was complete. An empty body, as HEAD has it, is.
func (d *dechunker) end() error {
	if d.state != chunkDone && !(d.state == chunkSize && len(d.line) == 0) {
		return errChunk
	}
	return nil
}
