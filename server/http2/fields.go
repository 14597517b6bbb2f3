package http2

import "strconv"

// headers gives a HEADERS or CONTINUATION frame to the server. The server overlooks much that makes
// a message malformed (RFC 9113 section 8.1.1). So headers appends an unknown pseudo-header to the
// fields of a malformed message, for which the server resets the stream with PROTOCOL_ERROR.
func (c *Conn) headers(head frameHead) error {
	frame, err := c.whole(head)
	if err != nil {
		return err
	}
	goesOn := head.flags&flagEndHeaders == 0
	if err := c.hurry(goesOn); err != nil {
		return err
	}
	if head.kind == frameHeaders {
		c.message, c.blocks = message{ended: head.flags&flagEndStream != 0}, 0
		c.last.Store(max(c.last.Load(), head.stream))
	}
	c.block = goesOn
	c.ready = frame
	fragment, ok := fragmentOf(head, frame[headLength:])
	if !ok {
		return nil // the server refuses it
	}
	if _, err := c.decoder.Write(fragment); err != nil {
		return nil // the server refuses this, too
	}
	if goesOn {
		return nil
	}
	malformed := c.message.isMalformed(c.limits.Secure)
	if malformed == "" && c.noteLength(head.stream, &c.message) {
		malformed = "the body has not the length that the request says"
	}
	c.message = message{}
	if err := c.decoder.Close(); err == nil && malformed != "" {
		c.refused(head.stream, malformed)
		frame[4] &^= flagEndHeaders
		c.ready = appendFrame(frame, frameContinuation, flagEndHeaders, head.stream, poison...)
	}
	return nil
}

// noteLength notes the content-length of a request. For a trailer section it reports whether the
// body before it is too short.
func (c *Conn) noteLength(stream uint32, m *message) (wrong bool) {
	switch {
	case m.method == "":
		return m.ended && c.lengths.take(stream, 0, true)
	case m.lengths == 1 && !m.ended:
		n, _ := strconv.ParseInt(m.length, 10, 64) // isMalformed has checked it
		c.lengths.set(stream, n)
	}
	return false
}

// poison is the header :x with an empty value, coded so that it enters no table (RFC 7541 section
// 6.2.3).
var poison = []byte{0x10, 2, ':', 'x', 0}

// fragmentOf returns the part of a frame's payload that belongs to the header block.
func fragmentOf(head frameHead, payload []byte) ([]byte, bool) {
	if head.kind == frameContinuation {
		return payload, true
	}
	padding := 0
	if head.flags&flagPadded != 0 {
		if len(payload) == 0 {
			return nil, false
		}
		padding, payload = int(payload[0]), payload[1:]
	}
	if head.flags&flagPriority != 0 {
		const priority = 5
		if len(payload) < priority {
			return nil, false
		}
		payload = payload[priority:]
	}
	if padding > len(payload) {
		return nil, false
	}
	return payload[:len(payload)-padding], true
}
