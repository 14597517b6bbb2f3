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

// Limits bound the work that a connection may cause beside its requests. The server behind has the
// other limits: streams at once, the size of a header block.
type Limits struct {
	// ResetBurst is how many RST_STREAM frames the client may send at once, or provoke from the
	// server by mistakes. ResetRate is how many more it may cause every second. Streams that are
	// begun and reset cost work and count for no other limit ("rapid reset", CVE-2023-44487; "made
	// you reset", CVE-2025-8671). ResetBurst 0 or less: no limit.
	ResetBurst, ResetRate int
	// ControlBurst and ControlRate are the same limits for frames that carry nothing. They count
	// PING, SETTINGS, PRIORITY, GOAWAY and unknown frames, and DATA frames that are empty but for
	// padding and not the last (CVE-2019-9512, 9515, 9518). They count WINDOW_UPDATE frames beyond
	// four for each request, for each DATA frame that the server has sent and for each 4 KiB in it.
	// Of DATA frames that carry less than their own head they allow ten times as many.
	ControlBurst, ControlRate int
	// Secure says that requests may have the scheme https: the connection has TLS, or comes from a
	// trusted gateway (RFC 9110 section 7.4).
	Secure bool
	// HeadTimeout is how long a header block may take from its beginning. 0 or less:
	// no limit.
	HeadTimeout time.Duration
	// Flooded is called once when a limit has ended a connection. Nil: not called.
	Flooded func(c *Conn, what string)
	// Refused is called for each malformed request that the server behind would not notice, and
	// that is therefore reset. Nil: not called.
	Refused func(c *Conn, stream uint32, reason string)
}

const (
	// smallData is how many bytes a DATA frame must carry at least to count as useful: as many as
	// its head. smallPerControl smaller frames count as one control frame.
	smallData       = headLength
	smallPerControl = 10
	// updatesPerFrame is how many WINDOW_UPDATE frames are allowed for a request, for a DATA frame
	// of the server, or for smallRead bytes in it. Clients send one or two, for the stream and for
	// the connection. Clients that read in small pieces send them for each piece (net/http for 4
	// KiB).
	updatesPerFrame = 4
	smallRead       = 4 << 10
)

// maxContinuations is how many CONTINUATION frames a header block may have. The server limits the
// size of the block; this limit is for empty frames (CVE-2024-27316).
const maxContinuations = 64

// errFlood is the error of reads on a connection that a limit has ended.
var errFlood = errors.New("http2: the client exceeds a limit")

// flood counts the frames that are limited.
type flood struct {
	resets, controls *rate.Limiter // nil: no limit
	small            *rate.Limiter // for DATA frames that carry little; nil: no limit
	updates          int64         // WINDOW_UPDATE frames that have come
	dueUpdates       atomic.Int64  // WINDOW_UPDATE frames that are allowed for the frames sent so far
	over             endedStreams
	provoked         bool // the client has provoked too many resets
	told             atomic.Bool
}

func (f *flood) start(l Limits) {
	if l.ResetBurst > 0 {
		f.resets = rate.NewLimiter(rate.Limit(l.ResetRate), l.ResetBurst)
	}
	if l.ControlBurst > 0 {
		f.controls = rate.NewLimiter(rate.Limit(l.ControlRate), l.ControlBurst)
		f.small = rate.NewLimiter(rate.Limit(l.ControlRate)*smallPerControl, l.ControlBurst*smallPerControl)
	}
}

// count counts a frame. It ends the connection at one frame too many.
func (c *Conn) count(head frameHead) error {
	switch head.kind {
	case frameReset:
		if !allow(c.flood.resets) {
			return c.end("too many RST_STREAM frames")
		}
	case frameContinuation:
		if c.blocks++; c.blocks > maxContinuations {
			return c.end("too many CONTINUATION frames")
		}
	case frameWindowUpdate:
		c.flood.updates++
		due := c.flood.dueUpdates.Load() + updatesPerFrame*(int64(c.Requests())+1)
		if c.flood.updates > due && !allow(c.flood.controls) {
			return c.end("too many WINDOW_UPDATE frames")
		}
	case frameHeaders, frameData: // countData counts the latter
	default:
		if !allow(c.flood.controls) {
			return c.end("too many control frames")
		}
	}
	return nil
}

// countData counts a DATA frame with content bytes. It ends the connection at one small frame too
// many.
func (c *Conn) countData(content int, last bool) error {
	switch {
	case last, content >= smallData:
	case content == 0 && !allow(c.flood.controls):
		return c.end("too many empty DATA frames")
	case content > 0 && !allow(c.flood.small):
		return c.end("too many DATA frames that carry next to nothing")
	}
	return nil
}

// answered counts a frame that the server has sent. A stream that the server resets for a mistake
// of the client counts like one that the client has reset. Frames on a stream that the server has
// already ended do not count as mistakes, because they were on their way.
func (f *flood) answered(frame frameHead, code uint32) {
	const protocolError, flowControlError, streamClosed = 0x1, 0x3, 0x5
	switch {
	case frame.kind == frameReset:
		mistake := code == protocolError || code == flowControlError || code == streamClosed
		if mistake && !f.over.has(frame.stream) && !allow(f.resets) {
			f.provoked = true
		}
		f.over.add(frame.stream)
		return
	case frame.kind == frameData:
		f.dueUpdates.Add(updatesPerFrame + updatesPerFrame*int64(frame.length)/smallRead)
	}
	switch {
	case (frame.kind == frameHeaders || frame.kind == frameData) && frame.flags&flagEndStream != 0:
		f.over.add(frame.stream)
	}
}

// endedStreams are the streams that the server has ended most recently.
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

// goAwayTime is how long writing the last frames of a connection may take.
const goAwayTime = 100 * time.Millisecond

// end tells the client why its connection ends (RFC 9113 section 6.8). It returns the error that
// makes the server close the connection. A write of the server that has begun gets goAwayTime to
// finish.
func (c *Conn) end(what string) error {
	_ = c.Conn.SetWriteDeadline(time.Now().Add(goAwayTime)) // the connection ends in any case
	c.wmu.Lock()
	defer c.wmu.Unlock()
	return c.endLocked(what)
}

// endLocked is end with wmu held. In the middle of writing a frame no GOAWAY can be inserted.
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

// flooded reports to Limits.Flooded that a limit has ended the connection.
func (c *Conn) flooded(what string) error {
	if c.limits.Flooded != nil && c.flood.told.CompareAndSwap(false, true) {
		c.limits.Flooded(c, what)
	}
	return fmt.Errorf("%w: %s", errFlood, what)
}
