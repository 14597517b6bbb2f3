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

	"github.com/pagi-go/pagi-bridge/internal/headername"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// bodyState is how far a request's body has been read.
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

// continueTime is how long a client may take to receive the few bytes of 100 Continue.
const continueTime = 10 * time.Second

// chunkCredit is how many bytes of framing every chunk may have, however small it is.
const chunkCredit = 16

var (
	errChunk         = errors.New("the request's chunked framing is broken")
	errTrailer       = errors.New("the request's trailer section is broken")
	errLargeTrailers = errors.New("the request's head and its trailer section are too large")
)

// body reads a request's body without its framing (RFC 9112 sections 6, 7.1). It may be read while
// the response is written.
type body struct {
	c     *conn
	mu    sync.Mutex // held by the running Read
	state bodyState
	left  int64
	total int // bytes of framing read, to limit chunks that carry little
	err   error
	after pagi.Headers // the fields of the trailer section
	// The client waits for 100 Continue. It changes only with the connection's headOut held.
	expected bool
	begun    bool // some of it was read
	// For the response: something is left to be read, and it is known to be more than drainLimit.
	unread, long atomic.Bool
}

// isDone reports whether there is nothing more to be read.
func (b *body) isDone() bool { return !b.unread.Load() }

// take ends all reading. Its caller must have woken a Read that waits.
func (b *body) take() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = http.ErrHijacked
	}
}

// Close does nothing: the server deals with the rest of a body.
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

// fail makes err the outcome of this read and of all later ones. An exceeded time limit is not
// kept, because it may be extended.
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

// hasRoom reports whether the rest of the body may wait in the buffer while the connection is read
// ahead. The rest must be known to be short. A body in chunks may be short as long as nothing of it
// was read.
func (b *body) hasRoom() bool {
	switch b.state {
	case atEnd:
		return true
	case known:
		return b.left < int64(max(len(b.c.in), bufferSize))
	}
	return b.state == chunkLine && !b.begun
}

// rest returns how many bytes of ahead belong to the body, and whether they are all that is left of
// it. It is for a body that hasRoom.
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

// endOfChunks returns how many bytes of p are a whole body in chunks. It returns 0 where the end
// has not come.
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

// readLeft reads the rest of a body or chunk: from the buffer, or directly from the connection.
func (b *body) readLeft(p []byte) (n int, err error) {
	c := b.c
	p = p[:min(int64(len(p)), b.left)]
	switch {
	case c.r < c.w:
		n = copy(p, c.in[c.r:c.w])
		c.advance(n)
	case len(p) >= bufferSize:
		n, err = c.read(p)
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
		// A client that wraps every few bytes in a long extension costs work. So framing may have
		// 16 KiB more than chunks of any size need.
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
		b.after = append(b.after, pagi.Header{Name: headername.Lower(name), Value: value})
	}
	return nil
}

// line reads one line that ends in CRLF, and returns it without the CRLF. It is valid until the
// next read. A bare LF is an error, because another reader may not take it for the end of a line.
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

// trailerRoom is how large a trailer section may be: the part of MaxHead that the head of the
// request has not used, and two bytes for the empty line.
func (c *conn) trailerRoom() int {
	if c.limits.MaxHead <= 0 {
		return math.MaxInt
	}
	return c.limits.MaxHead - c.head + 2
}

// chunkSize reads "1a" or "1a;name=value". It ignores the extension, as RFC 9112 section 7.1.1
// requires.
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

// sayContinue sends 100 Continue to a client that expects it, unless the response has begun.
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

// drain reads the rest of a body that is not long, and reports whether it has reached the end. A
// client that waits for 100 Continue has sent no body and will not send one.
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
