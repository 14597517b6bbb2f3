package ws

import (
	"bytes"
	"encoding/binary"
	"io"
	"slices"
	"unicode/utf8"

	"golang.org/x/time/rate"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// message is the message that is being read.
type message struct {
	op     byte // opText, opBinary; 0: none has begun
	packed bool // it is compressed
	fin    bool // its last frame has begun
	left   int64
	at     int64 // of the frame
	mask   [4]byte
	size   int64 // of all its frames so far
}

// Receive implements engine.WebSocketConn.
func (c *conn) Receive() (pagi.WebSocketReceive, error) {
	c.touch() // the client may have sent something while no Receive ran
	c.reads.Store(true)
	defer c.reads.Store(false)
	c.in.shrink()
	var m message
	ev, err := c.read(&m)
	if err != nil {
		return pagi.WebSocketReceive{}, c.end(err)
	}
	return ev, nil
}

func (c *conn) read(m *message) (ev pagi.WebSocketReceive, err error) {
	if err := c.nextFrame(m); err != nil {
		return ev, err
	}
	var payload []byte
	check := &utf8Check{}
	if m.op == opBinary {
		check = nil
	}
	switch {
	case m.packed:
		payload, err = c.inflater.inflate(&source{c: c, m: m}, check, c.server.maxMessage())
	case m.fin && m.left <= int64(c.in.w-c.in.r):
		if payload = c.piece(m); check != nil && !utf8.Valid(payload) {
			return ev, errUTF8()
		}
		if check == nil {
			payload = bytes.Clone(payload)
		}
		check = nil
	default:
		payload, err = c.gather(m, check)
	}
	switch {
	case err != nil:
		return ev, err
	case check != nil && !check.done():
		return ev, errUTF8()
	case m.op == opBinary:
		return pagi.WebSocketReceive{Bytes: payload, Binary: true}, nil
	}
	return pagi.WebSocketReceive{Text: string(payload)}, nil
}

func errUTF8() error { return violation(codeInvalid, "the text is not UTF-8") }

// gather puts the pieces of a message together, as they come.
func (c *conn) gather(m *message, check *utf8Check) ([]byte, error) {
	payload := []byte{}
	for {
		p, err := c.next(m)
		if err == io.EOF {
			return payload, nil
		}
		if err != nil {
			return nil, err
		}
		if check != nil && !check.add(p) {
			return nil, errUTF8()
		}
		payload = append(grown(payload, len(p), m.left), p...)
	}
}

// grown makes room for n more bytes, of left that are still to come. Announced bytes get at most as
// much room as bytes have come already.
func grown(p []byte, n int, left int64) []byte {
	if cap(p)-len(p) >= n {
		return p
	}
	return slices.Grow(p, n+int(min(left, int64(len(p)+n))))
}

// next returns the next piece of a message, which is valid until the next call. At the end of the
// message it returns io.EOF.
func (c *conn) next(m *message) ([]byte, error) {
	for m.left == 0 {
		if m.fin {
			return nil, io.EOF
		}
		if err := c.nextFrame(m); err != nil {
			return nil, err
		}
	}
	if c.in.r == c.in.w {
		if err := c.in.fill(); err != nil {
			return nil, err
		}
	}
	return c.piece(m), nil
}

// piece takes the available part of a frame out of the buffer.
func (c *conn) piece(m *message) []byte {
	in := &c.in
	p := in.buf[in.r:min(int64(in.w), int64(in.r)+m.left)]
	in.r += len(p)
	unmask(p, m.mask, m.at)
	m.left -= int64(len(p))
	m.at += int64(len(p))
	return p
}

// nextFrame begins the next frame of a message, the first one where m.op is 0. Control
// frames before it are dealt with.
func (c *conn) nextFrame(m *message) error {
	for {
		h, err := c.in.readHeader()
		if err != nil {
			return err
		}
		if c.isWaste(&h) && !c.mayWaste() {
			return violation(codePolicy, "there are too many frames that carry no message")
		}
		if h.op < opClose {
			return c.begin(m, &h)
		}
		if err := c.control(&h); err != nil {
			return err
		}
	}
}

// A client may send wasteBurst frames at once that bring no message nearer its end, and wasteRate
// more each second. They cost work and count for no other limit.
const (
	wasteBurst = 1000
	wasteRate  = 100
)

// isWaste reports whether a frame brings no message nearer its end: a ping, a pong, or an empty
// fragment that is not a message's last.
func (c *conn) isWaste(h *header) bool {
	return h.op == opPing || h.op == opPong || h.op < opClose && h.size == 0 && !h.fin
}

// mayWaste counts a frame that is waste, and reports whether the client may still send it.
func (c *conn) mayWaste() bool {
	if c.waste == nil {
		c.waste = rate.NewLimiter(wasteRate, wasteBurst)
	}
	return c.waste.Allow()
}

// begin checks a frame against the message it is part of.
func (c *conn) begin(m *message, h *header) error {
	switch {
	case (h.op == opContinuation) != (m.op != 0):
		if m.op == 0 {
			return violation(codeProtocol, "there is no message to continue")
		}
		return violation(codeProtocol, "a message begins inside another")
	case h.rsv1 && (c.inflater == nil || h.op == opContinuation):
		return violation(codeProtocol, "a reserved bit is set")
	case h.size > c.server.maxFrame():
		return tooLarge("frame", optionMaxFrame)
	case h.size > c.server.maxMessage()-m.size:
		return tooLarge("message", optionMaxMessage)
	}
	if m.op == 0 {
		m.op, m.packed = h.op, h.rsv1
	}
	m.fin, m.left, m.at, m.mask = h.fin, h.size, 0, h.mask
	m.size += h.size
	if h.size > int64(len(c.in.buf)-(c.in.w-c.in.r)) {
		c.in.enlarge()
	}
	return nil
}

// control deals with a control frame (RFC 6455 section 5.5).
func (c *conn) control(h *header) error {
	p, err := c.in.need(int(h.size))
	if err != nil {
		return err
	}
	c.in.r += len(p)
	unmask(p, h.mask, 0)
	switch h.op {
	case opPing:
		c.answerPing(p)
	case opPong:
		c.pong()
	case opClose:
		return closedBy(p)
	}
	return nil
}

// closedBy returns the end for a Close frame with the payload p.
func closedBy(p []byte) error {
	if len(p) == 0 {
		return &engine.WebSocketEnd{Code: codeNoStatus, Answer: codeNoStatus, Peer: true}
	}
	if len(p) == 1 {
		return violation(codeProtocol, "the Close frame's code is incomplete")
	}
	code, text := int(binary.BigEndian.Uint16(p)), p[2:]
	switch {
	case code == 0 || pagi.Validate(pagi.TypeWebSocket, pagi.WebSocketClose{Code: code}) != nil: // Validate takes 0 for the default
		return violation(codeProtocol, "the close code %d is not one that may be sent", code)
	case !utf8.Valid(text):
		return violation(codeInvalid, "the Close frame's reason is not UTF-8")
	}
	return &engine.WebSocketEnd{Code: code, Reason: string(text), Answer: code, Peer: true}
}
