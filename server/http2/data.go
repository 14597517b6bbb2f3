package http2

// maxLengths is for how many requests at once the length of the body is remembered. A client that
// keeps the limit on streams has fewer. Some lengths of bodies that a client leaves unfinished are
// forgotten.
const maxLengths = 1024

// bodyLengths has the number of bytes still to come for each request with a content-length, by
// stream. The server behind overlooks a body that is too short, and DATA on a stream that it has
// answered already (RFC 9113 section 8.1.1).
type bodyLengths map[uint32]int64

// set notes the length of a request's body.
func (l bodyLengths) set(stream uint32, length int64) {
	if len(l) >= maxLengths {
		for other := range l {
			delete(l, other)
			break
		}
	}
	l[stream] = length
}

// take subtracts content bytes of a body. It reports whether the body is longer than announced or,
// with last, shorter.
func (l bodyLengths) take(stream uint32, content int, last bool) (wrong bool) {
	left, known := l[stream]
	if !known {
		return false
	}
	left -= int64(content)
	wrong = left < 0 || last && left > 0
	if wrong || last {
		delete(l, stream)
	} else {
		l[stream] = left
	}
	return wrong
}

// data gives a DATA frame to the server. If the frame gives the body a wrong length, data puts a
// window update of 0 in front of it, for which the server resets the stream with PROTOCOL_ERROR.
func (c *Conn) data(head frameHead) error {
	looked, padding := headLength, 0
	if head.flags&flagPadded != 0 && head.length > 0 {
		looked++
		if err := c.fill(looked); err != nil {
			return err
		}
		padding = 1 + int(c.buf[headLength])
	}
	content, last := max(0, head.length-padding), head.flags&flagEndStream != 0
	if err := c.countData(content, last); err != nil {
		return err
	}
	c.ready, c.pass = c.take(looked), headLength+head.length-looked
	if c.lengths.take(head.stream, content, last) {
		c.refused(head.stream, "the body has not the length that the request says")
		c.ready = append(appendFrame(nil, frameWindowUpdate, 0, head.stream, 0, 0, 0, 0), c.ready...)
	}
	return nil
}

// refused reports a request that the server behind is made to reset.
func (c *Conn) refused(stream uint32, reason string) {
	if c.limits.Refused != nil {
		c.limits.Refused(c, stream, reason)
	}
}
