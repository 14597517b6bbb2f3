package http1

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// bodyState is where in a request's body its reader is.
type bodyState uint8

const (
	atEnd     bodyState = iota // read to its end, or there is none
	known                      // left bytes are to come
	chunkLine                  // before a chunk's size
	inChunk                    // left bytes of it are to come
	chunkEnd                   // before the line end after it
	trailers                   // in the trailer section
	failed
)

// maxChunkLine is how long the line with a chunk's size may be.
const maxChunkLine = 4 << 10

// continueTime is how long a client may take for the few bytes of 100 Continue.
const continueTime = 10 * time.Second

// chunkCredit is how much framing every chunk may have, however small it is.
const chunkCredit = 16

var (
	errChunk         = errors.New("the request's chunked framing is broken")
	errTrailer       = errors.New("the request's trailer section is broken")
	errLargeTrailers = errors.New("the request's head and its trailer section are too large")
)

// body is a request's body, as it is without its framing (RFC 9112 sections 6, 7.1).
// It may be read while the response is written.
type body struct {
	c     *conn
	mu    sync.Mutex // held by the running Read
	state bodyState
	left  int64
	total int // bytes of framing read, to limit chunks that carry little
	err   error
	after pagi.Headers // the fields of the trailer section
	// The client waits for 100 Continue; this changes with the connection's headOut
	// held.
	expected bool
	begun    bool // it was read from
	// What the response wants to know: there is something to be read; it is known to
	// be more than drainLimit.
	unread, long atomic.Bool
}

// isDone reports whether there is nothing more to be read.
func (b *body) isDone() bool { return !b.unread.Load() }

// take ends all reading. A Read that waits must have been woken.
func (b *body) take() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = http.ErrHijacked
	}
}

// Close does nothing: what is left of a body is the server's concern.
func (b *body) Close() error { return nil }

// Read implements io.Reader. An error other than io.EOF means that the connection
// cannot be used for another request.
func (b *body) Read(p []byte) (n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return 0, b.err
	}
	if b.state == atEnd {
		return 0, io.EOF
	}
	b.c.watch.bodyBegins(b.c)
	defer b.c.watch.bodyPauses(b.c)
	b.begun = true
	if b.expected {
		if err := b.sayContinue(); err != nil {
			return 0, b.fail(err)
		}
	}
	for len(p) > 0 && n == 0 && err == nil {
		switch b.state {
		case known, inChunk:
			n, err = b.readLeft(p)
		default:
			err = b.readFraming()
		}
		if b.state == atEnd {
			b.unread.Store(false)
			return n, io.EOF
		}
	}
	if err != nil {
		return n, b.fail(err)
	}
	return n, nil
}

// fail makes err the outcome of this read and all others. A time limit may be
// extended.
func (b *body) fail(err error) error {
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return err
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	b.err, b.state = err, failed
	return err
}

// hasRoom reports whether what is left of the body is known to be short, or may be as
// nothing was read of it, so that it may wait in the buffer while that is read ahead.
func (b *body) hasRoom() bool {
	switch b.state {
	case atEnd:
		return true
	case known:
		return b.left < int64(len(b.c.in))
	}
	return b.state == chunkLine && !b.begun
}

// rest returns how much of what is read ahead is of the body, and whether that is all that
// is left of it, where it hasRoom.
func (b *body) rest(ahead []byte) (n int, all bool) {
	switch b.state {
	case atEnd:
		return 0, true
	case known:
		return min(int(b.left), len(ahead)), b.left <= int64(len(ahead))
	}
	if n := endOfChunks(ahead); n > 0 {
		return n, true
	}
	return len(ahead), false
}

// endOfChunks returns how much of p is a body in chunks; 0 where its end has not come.
func endOfChunks(p []byte) int {
	for at := 0; at < len(p); {
		i := bytes.IndexByte(p[at:], '\n')
		if i < 1 {
			return 0
		}
		size, err := chunkSize(p[at : at+i-1])
		if err != nil || size > int64(len(p)) {
			return 0
		}
		if at += i + 1; size == 0 {
			if n := emptyLine(p[at:]); n > 0 {
				return at + n
			}
			if n := endOfHead(p[at:], 0); n > 0 {
				return at + n
			}
			return 0
		}
		at += int(size) + len("\r\n")
	}
	return 0
}

// readLeft reads what is left of a body or chunk: from the buffer, or past it.
func (b *body) readLeft(p []byte) (n int, err error) {
	c := b.c
	p = p[:min(int64(len(p)), b.left)]
	switch {
	case c.r < c.w:
		n = copy(p, c.in[c.r:c.w])
		c.advance(n)
	case len(p) >= readBuffer:
		n, err = c.net.Read(p)
	default:
		if _, err = c.fill(); err == nil {
			n = copy(p, c.in[c.r:c.w])
			c.advance(n)
		}
	}
	b.left -= int64(n)
	if b.left <= drainLimit && b.long.Load() {
		b.long.Store(false)
	}
	if b.left == 0 {
		if b.state == known {
			b.state = atEnd
		} else {
			b.state = chunkEnd
		}
	}
	if n > 0 {
		err = nil // it comes again
	}
	return n, err
}

// readFraming reads a line between chunks.
func (b *body) readFraming() error {
	line, err := b.line()
	if err != nil {
		return err
	}
	switch b.state {
	case chunkLine:
		size, err := chunkSize(line)
		if err != nil {
			return err
		}
		b.left, b.state = size, inChunk
		if size == 0 {
			b.state, b.total = trailers, 0
		}
		// A peer that wraps every few bytes in a long extension makes us work for
		// nothing: framing may be 16 KiB more than what chunks of any size need.
		b.total = max(0, b.total-chunkCredit-2*int(min(size, math.MaxInt32/4)))
	case chunkEnd:
		if len(line) > 0 {
			return errChunk
		}
		b.state = chunkLine
	case trailers:
		if len(line) == 0 {
			b.state = atEnd
			return nil
		}
		name, value, ok := strings.Cut(string(line), ":")
		if value = trim(value); !ok || !isToken(name) || !isValue(value) { // folded, too
			return errTrailer
		}
		b.after = append(b.after, pagi.Header{Name: pagi.LowerName(name), Value: value})
	}
	return nil
}

// line reads one line that ends in CRLF, and returns it without; it is valid until
// the next read. A bare LF is an error: another reader may not take it for an end.
func (b *body) line() ([]byte, error) {
	c := b.c
	most, all, tooLong := maxChunkLine, 4*maxChunkLine, errChunk
	if b.state == trailers {
		all, tooLong = c.trailerRoom(), errLargeTrailers
		most = all
	}
	for {
		pending := c.in[c.r:c.w]
		if i := bytes.IndexByte(pending, '\n'); i >= 0 {
			if i == 0 || pending[i-1] != '\r' {
				return nil, errChunk
			}
			if b.total += i + 1; i > most || b.total > all {
				return nil, tooLong
			}
			line := pending[:i-1]
			if bytes.IndexByte(line, '\r') >= 0 {
				return nil, errChunk
			}
			c.advance(i + 1)
			return line, nil
		}
		if len(pending) > most {
			return nil, tooLong
		}
		if _, err := c.fill(); err != nil {
			return nil, err
		}
	}
}

// trailerRoom is how large a trailer section may be: it has what its request's head has
// left of the room for that, and the two bytes of the line that ends it.
func (c *conn) trailerRoom() int {
	if c.limits.MaxHead <= 0 {
		return math.MaxInt
	}
	return c.limits.MaxHead - c.head + 2
}

// chunkSize reads "1a" or "1a;name=value"; what the extension says is ignored, as
// RFC 9112 section 7.1.1 wants it.
func chunkSize(line []byte) (int64, error) {
	digits, extension, extended := bytes.Cut(line, []byte{';'})
	if extended {
		digits = bytes.TrimRight(digits, " \t")
	}
	if len(digits) == 0 || len(digits) > 15 || !isValue(string(extension)) {
		return 0, errChunk
	}
	var n int64
	for _, d := range digits {
		switch {
		case isDigit(d):
			n = n<<4 | int64(d-'0')
		case 'a' <= d|0x20 && d|0x20 <= 'f':
			n = n<<4 | int64(d|0x20-'a'+10)
		default:
			return 0, errChunk
		}
	}
	return n, nil
}

// sayContinue answers an expectation, unless the response has begun.
func (b *body) sayContinue() error {
	c := b.c
	c.headOut.Lock()
	defer c.headOut.Unlock()
	if c.headBegun {
		return nil
	}
	b.expected = false
	if err := c.limitWrite(continueTime); err != nil {
		return err
	}
	_, err := io.WriteString(c.net, "HTTP/1.1 100 Continue\r\n\r\n")
	return err
}

// drain reads the rest of a body that is not long, and reports whether that was all.
// A client that waits for 100 Continue has not sent it and will not.
func (b *body) drain() bool {
	if b.isDone() {
		return true
	}
	if b.err != nil || b.expected || b.long.Load() {
		return false
	}
	b.c.limitRead(lingerTime)
	_, err := io.CopyN(io.Discard, b, drainLimit+1)
	return err == io.EOF && b.isDone()
}
