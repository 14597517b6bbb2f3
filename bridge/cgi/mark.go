//go:build unix

package cgi

import (
	"errors"
	"io"
	"strings"
)

// A process that stays writes a mark behind the output of each run: a text that only this
// request knows, and the status with which another process would have ended.
const (
	markText   = 26 // of rand.Text
	markStatus = 3  // digits
	markLength = markText + markStatus
)

// mark takes the end of a run off the output of a process that stays.
type mark struct {
	text   string
	held   []byte // of the output: what may be the mark's beginning
	status int
	seen   bool
}

// read reads output from a pipe. It returns io.EOF when the mark was read, or when the
// pipe has ended without it: the process has ended, too.
func (m *mark) read(from io.Reader, p []byte) (int, error) {
	if m.seen {
		return 0, io.EOF
	}
	if len(p) < 2*markLength {
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
		case errors.Is(err, io.EOF): // it was output after all
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
		if m.status, m.seen = threeDigits(string(b[at+markText:])); m.seen {
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
