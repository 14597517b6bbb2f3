//go:build unix

package perlfork

import (
	"errors"
	"io"
	"strconv"
	"strings"
)

// A worker writes a mark behind the output of each run: a text that only this request knows, and the status with which a
// process of its own would have ended.
const (
	markText   = 26 // of rand.Text
	markStatus = 3  // digits
	markLength = markText + markStatus
)

// LeastRead is the least number of bytes that Read of a Job may be given room for. A mark is not read into less.
const LeastRead = 2 * markLength

// mark takes the mark off the output of a worker.
type mark struct {
	text   string
	held   []byte // output that may be the beginning of the mark
	status int
	seen   bool
}

// read reads output from a pipe. It returns io.EOF when the mark was read, and when the pipe has ended without a mark, which
// means that the worker has ended.
func (m *mark) read(from io.Reader, p []byte) (int, error) {
	if m.seen {
		return 0, io.EOF
	}
	if len(p) < LeastRead {
		return 0, io.ErrShortBuffer
	}
	for {
		had := copy(p, m.held)
		n, err := from.Read(p[had:])
		m.held = m.held[:0]
		n += had
		switch keep := m.find(p[:n]); {
		case m.seen:
			if n -= markLength; n > 0 {
				return n, nil
			}
			return 0, io.EOF
		case errors.Is(err, io.EOF): // what looked like the beginning of the mark was output
			return n, err
		default:
			m.held = append(m.held, p[n-keep:n]...)
			n -= keep
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

// find looks for the mark at the end of b. If there is none it returns how many bytes
// may be the beginning of one.
func (m *mark) find(b []byte) (keep int) {
	if at := len(b) - markLength; at >= 0 && string(b[at:at+markText]) == m.text {
		if status, err := strconv.ParseUint(string(b[at+markText:]), 10, 16); err == nil {
			m.status, m.seen = int(status), true
			return 0
		}
	}
	tail := string(b[max(0, len(b)-markLength+1):])
	for len(tail) > 0 {
		if strings.HasPrefix(m.text, tail) || strings.HasPrefix(tail, m.text) {
			return len(tail)
		}
		tail = tail[1:]
	}
	return 0
}
