package http2

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// Limits are what a connection may ask of the server beside requests. What is not
// limited here is by the server behind: streams at once, the size of a header block.
type Limits struct {
	// ResetBurst is how many RST_STREAM frames the client may send, or have the server
	// send by its mistakes, at once, ResetRate how many more every second: streams that
	// are begun and reset cost work and count in no other limit ("rapid reset",
	// CVE-2023-44487; "made you reset", CVE-2025-8671). ResetBurst 0 or less: no limit.
	ResetBurst, ResetRate int
	// ControlBurst and ControlRate are the same for PING, SETTINGS, PRIORITY, GOAWAY and
	// unknown frames, and for DATA frames that are empty and not the last (CVE-2019-9512,
	// 9515, 9518).
	ControlBurst, ControlRate int
	// HeadTimeout is how long a header block may take from its beginning. 0 or less:
	// no limit.
	HeadTimeout time.Duration
	// Flooded is called once when a limit has ended a connection. Nil: not called.
	Flooded func(c *Conn, what string)
}

// maxContinuations is how many CONTINUATION frames a header block may have: the server
// limits its size, this the empty ones (CVE-2024-27316).
const maxContinuations = 64

// errFlood is what reading a connection ends with that a limit has ended.
var errFlood = errors.New("http2: the client exceeds a limit")

// flood counts what is limited.
type flood struct {
	resets, controls *rate.Limiter // nil: no limit
	over             endedStreams
	provoked         bool // the client has had the server reset too much
	told             atomic.Bool
}

func (f *flood) start(l Limits) {
	if l.ResetBurst > 0 {
		f.resets = rate.NewLimiter(rate.Limit(l.ResetRate), l.ResetBurst)
	}
	if l.ControlBurst > 0 {
		f.controls = rate.NewLimiter(rate.Limit(l.ControlRate), l.ControlBurst)
	}
}

// count counts a frame, and ends a connection with one too many.
func (c *Conn) count(head frameHead) error {
	switch head.kind {
	case frameData:
		if head.length == 0 && head.flags&flagEndStream == 0 && !allow(c.flood.controls) {
			return c.end("too many empty DATA frames")
		}
	case frameReset:
		if !allow(c.flood.resets) {
			return c.end("too many RST_STREAM frames")
		}
	case frameContinuation:
		if c.blocks++; c.blocks > maxContinuations {
			return c.end("too many CONTINUATION frames")
		}
	case frameHeaders, frameWindowUpdate:
	default:
		if !allow(c.flood.controls) {
			return c.end("too many control frames")
		}
	}
	return nil
}

// answered counts what the server has sent: a stream that it had to reset for a mistake of
// the client is as good as one that the client has reset. What comes on a stream after the
// server has ended it was on its way, and no mistake.
func (f *flood) answered(frame frameHead, code uint32) {
	const protocolError, flowControlError, streamClosed = 0x1, 0x3, 0x5
	switch {
	case frame.kind == frameReset:
		mistake := code == protocolError || code == flowControlError || code == streamClosed
		if mistake && !f.over.has(frame.stream) && !allow(f.resets) {
			f.provoked = true
		}
		f.over.add(frame.stream)
	case (frame.kind == frameHeaders || frame.kind == frameData) && frame.flags&flagEndStream != 0:
		f.over.add(frame.stream)
	}
}

// endedStreams are those that the server has ended last.
type endedStreams struct {
	list [128]uint32
	next int
}

func (e *endedStreams) add(stream uint32) {
	e.list[e.next] = stream
	e.next = (e.next + 1) % len(e.list)
}

func (e *endedStreams) has(stream uint32) bool { return slices.Contains(e.list[:], stream) }

func allow(l *rate.Limiter) bool { return l == nil || l.Allow() }

// goAwayTime is how long the farewell of a connection that is ended may take.
const goAwayTime = 100 * time.Millisecond

// end tells the client why its connection ends (RFC 9113 section 6.8), unless the server
// is writing, and returns the error that has the server close it.
func (c *Conn) end(what string) error {
	if !c.wmu.TryLock() {
		return c.flooded(what)
	}
	defer c.wmu.Unlock()
	return c.endLocked(what)
}

// endLocked is end for who holds wmu. In the middle of a frame there is nothing to be said.
func (c *Conn) endLocked(what string) error {
	if c.sent.isBetween() && !c.ended {
		const enhanceYourCalm = 0xb
		payload := binary.BigEndian.AppendUint32(nil, c.last.Load())
		payload = binary.BigEndian.AppendUint32(payload, enhanceYourCalm)
		frame := appendFrame(nil, frameGoAway, 0, 0, append(payload, what...)...)
		_ = c.Conn.SetWriteDeadline(time.Now().Add(goAwayTime))
		_, _ = c.Conn.Write(frame) // the connection ends in any case
	}
	c.ended = true
	return c.flooded(what)
}

// flooded reports that a limit has ended the connection.
func (c *Conn) flooded(what string) error {
	if c.limits.Flooded != nil && c.flood.told.CompareAndSwap(false, true) {
		c.limits.Flooded(c, what)
	}
	return fmt.Errorf("%w: %s", errFlood, what)
}
