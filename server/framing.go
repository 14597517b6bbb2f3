package server

import (
	"bytes"
	"net"
	"sync/atomic"
)

// framing follows the requests on an HTTP/1 connection, byte by byte as net/http
// reads them, to catch what net/http lets pass but a front must not: a request
// with both transfer-encoding and content-length, or with transfer-encoding in
// HTTP/1.0, which a second server behind or before this one may see as two
// (request smuggling, RFC 9112 sections 6.1 and 11.2), and a header line folded onto
// a second one, which readers disagree about (section 5.2). Such a head is spoiled
// in the buffer before net/http parses it, so that it answers 400 and closes.
//
// It also keeps the limit on a head's size: what is beyond is withheld from
// net/http, and httpConn answers 431.
type framing struct {
	off  atomic.Bool // what is read is not, or not any more, HTTP
	r    *running
	conn net.Conn

	state   framingState
	head    int // bytes of the current head
	name    [len("transfer-encoding")]byte
	nameLen int  // how much of name is used; beyond its size: some longer name
	old     bool // HTTP/1.0
	tail    [len("HTTP/1.0")]byte
	chunked bool
	length  bool  // content-length was seen
	body    int64 // bytes of body, or chunk, still to skip
}

type framingState uint8

const (
	atStart     framingState = iota // before a request line
	inStartLine                     // in it
	atLine                          // at the first byte of a header line
	inName
	inValue     // in a value of no interest
	inLength    // in a content-length
	inBody      // of known length
	atChunk     // at or in the hexadecimal digits of a chunk's size
	inChunkLine // after them
	inChunk
	inChunkEnd // in the line end after a chunk
	atTrailer  // at the first byte of a trailer line
	inTrailer
	spoiled  // nothing that follows matters
	tooLarge // nothing that follows is handed on
)

// inspect looks at bytes that were read, and may change them. It returns how many
// of them net/http may have: all, or none beyond the limit of the head's size.
func (f *framing) inspect(p []byte) int {
	if f.off.Load() {
		return len(p)
	}
	done := 0
	for done < len(p) && f.state != tooLarge {
		switch rest := p[done:]; {
		case f.state == atStart:
			f.head = f.inspectHead(rest[:f.room(0, len(rest))])
			done += f.head
		case !f.inHead():
			done += f.skipBody(rest)
		default:
			room := f.room(f.head, len(rest))
			if room == 0 {
				f.state = tooLarge
				f.r.logHeadTooLarge(f.conn.RemoteAddr().String())
				break
			}
			n := f.inspectHead(rest[:room])
			f.head += n
			done += n
		}
	}
	return done
}

// room returns how many of n bytes a head may have that already has some.
func (f *framing) room(head, n int) int {
	if limit := f.r.headLimit; limit > 0 {
		return min(n, limit-head)
	}
	return n
}

// inHead reports whether a request's head has begun and not ended.
func (f *framing) inHead() bool { return atStart < f.state && f.state <= inLength }

// inspectHead consumes at least one byte of a request's head and returns how many.
func (f *framing) inspectHead(p []byte) int {
	switch f.state {
	case atStart:
		if p[0] == '\r' || p[0] == '\n' {
			return 1
		}
		f.old, f.chunked, f.length, f.body = false, false, false, 0
		f.tail = [len(f.tail)]byte{}
		f.state = inStartLine
		return f.startLine(p)
	case inStartLine:
		return f.startLine(p)
	case atLine:
		switch p[0] {
		case '\r':
			return 1
		case '\n':
			f.endHead()
			return 1
		case ' ', '\t':
			f.spoil(p, "a header line is folded")
			return 1
		}
		f.nameLen = 0
		f.state = inName
		return f.headerName(p)
	case inName:
		return f.headerName(p)
	case inLength:
		return f.lengthValue(p)
	}
	return f.skipLine(p, atLine)
}

// skipLine skips to the end of the line, where the state becomes next.
func (f *framing) skipLine(p []byte, next framingState) int {
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		return len(p)
	}
	f.state = next
	return i + 1
}

func (f *framing) startLine(p []byte) int {
	line := p
	if i := bytes.IndexByte(p, '\n'); i >= 0 {
		line = p[:i+1]
		f.state = atLine
	}
	text := bytes.TrimRight(line, "\r\n")
	if len(text) >= len(f.tail) {
		copy(f.tail[:], text[len(text)-len(f.tail):])
	} else {
		copy(f.tail[:], f.tail[len(text):])
		copy(f.tail[len(f.tail)-len(text):], text)
	}
	if f.state == atLine {
		f.old = string(f.tail[:]) == "HTTP/1.0"
	}
	return len(line)
}

func (f *framing) headerName(p []byte) int {
	for i, c := range p {
		switch {
		case c == ':':
			f.header(p[i:])
			return i + 1
		case c == '\n': // no header; net/http refuses it
			f.state = spoiled
			return i + 1
		}
		if f.nameLen < len(f.name) {
			if 'A' <= c && c <= 'Z' {
				c += 'a' - 'A'
			}
			f.name[f.nameLen] = c
		}
		f.nameLen++
	}
	return len(p)
}

// header acts on a complete name; p begins with the colon after it.
func (f *framing) header(p []byte) {
	f.state = inValue
	if f.nameLen > len(f.name) {
		return
	}
	switch string(f.name[:f.nameLen]) {
	case "content-length":
		f.length = true
		f.body = 0
		f.state = inLength
	case "transfer-encoding":
		f.chunked = true
	default:
		return
	}
	if f.chunked && (f.length || f.old) {
		f.spoil(p, "transfer-encoding with content-length or in HTTP/1.0")
	}
}

// spoil puts a byte at the start of p that net/http refuses in a header's name as
// well as before or after its colon.
func (f *framing) spoil(p []byte, reason string) {
	p[0] = 0
	f.state = spoiled
	f.r.log.Warn("request framing is ambiguous", "reason", reason, "client", f.conn.RemoteAddr().String())
}

func (f *framing) lengthValue(p []byte) int {
	for i, c := range p {
		switch {
		case c == '\n':
			f.state = atLine
			return i + 1
		case '0' <= c && c <= '9':
			if f.body = f.body*10 + int64(c-'0'); f.body < 0 {
				f.state = spoiled // net/http refuses a number that large
				return i + 1
			}
		}
	}
	return len(p)
}

func (f *framing) endHead() {
	switch {
	case f.chunked:
		f.body = 0
		f.state = atChunk
	case f.body > 0:
		f.state = inBody
	default:
		f.state = atStart
	}
}

// skipBody consumes at least one byte of a request's body.
func (f *framing) skipBody(p []byte) int {
	switch f.state {
	case inBody:
		return f.skipBytes(p, atStart)
	case inChunk:
		return f.skipBytes(p, inChunkEnd)
	case inChunkEnd:
		return f.skipLine(p, atChunk)
	case atChunk:
		return f.chunkSize(p)
	case inChunkLine:
		n := f.skipLine(p, inChunk)
		if f.state == inChunk && f.body == 0 {
			f.state = atTrailer
		}
		return n
	case atTrailer:
		switch p[0] {
		case '\r':
		case '\n':
			f.state = atStart
		default:
			f.state = inTrailer
		}
		return 1
	case inTrailer:
		return f.skipLine(p, atTrailer)
	}
	return len(p)
}

func (f *framing) skipBytes(p []byte, next framingState) int {
	n := min(int64(len(p)), f.body)
	if f.body -= n; f.body == 0 {
		f.state = next
	}
	return int(n)
}

func (f *framing) chunkSize(p []byte) int {
	for i, c := range p {
		var digit byte
		switch {
		case '0' <= c && c <= '9':
			digit = c - '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			digit = c | 0x20 - 'a' + 10
		default:
			f.state = inChunkLine
			return i
		}
		if f.body = f.body<<4 | int64(digit); f.body < 0 || f.body>>58 != 0 {
			f.state = spoiled
			return i + 1
		}
	}
	return len(p)
}
