package ws

import (
	"context"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/pagi-go/pagi-bridge/pagi"
)

const (
	// outputRoom is the size of a new write buffer, and keptOutput that of the largest
	// one that is kept for others.
	outputRoom = 2 << 10
	keptOutput = 64 << 10
	// writePiece is how much must leave within the WriteTimeout.
	writePiece = 64 << 10
	// maxPongs is how many bytes may wait before a ping is not answered: only the last
	// one needs to be (RFC 6455 section 5.5.3).
	maxPongs = 4 << 10
)

var outputs = sync.Pool{New: func() any { b := make([]byte, 0, outputRoom); return &b }}

// errGone is what Send returns when nothing can be sent any more.
var errGone = &pagi.WebSocketEnd{Code: codeAbnormal, Reason: pagi.ReasonClientClosed}

// Send implements pagi.WebSocketConn. The client is behind where the amount that
// waits has reached the high-water mark, until it is below the low one.
func (c *conn) Send(ctx context.Context, m pagi.WebSocketSend) error {
	if err := c.awaitRoom(ctx); err != nil {
		return err
	}
	c.touch()
	c.wmu.Lock()
	charged := 0
	if c.writing || c.try == nil { // it will wait, if only a moment
		c.wmu.Unlock()
		charged = len(m.Text) + len(m.Bytes)
		c.flow.Add(charged)
		c.wmu.Lock()
	}
	if c.closeSent || c.broken {
		c.wmu.Unlock()
		c.flow.Add(-charged)
		return errGone
	}
	if m.Binary {
		appendMessage(c, opBinary, m.Bytes)
	} else {
		appendMessage(c, opText, m.Text)
	}
	c.charge += charged
	c.push()
	return nil
}

// appendMessage appends a message to what waits. wmu is held.
func appendMessage[T string | []byte](c *conn, op byte, payload T) {
	c.needOutput()
	if c.deflater != nil && len(payload) >= minCompressed {
		packed := c.deflater.deflate([]byte(payload))
		c.out = append(appendHeader(c.out, op, true, len(packed)), packed...)
		return
	}
	c.out = append(appendHeader(c.out, op, false, len(payload)), payload...)
}

func (c *conn) needOutput() {
	if c.out == nil {
		c.out = *outputs.Get().(*[]byte)
	}
}

// Ping implements pagi.WebSocketConn. However much waits, it is sent: a pong is awaited.
func (c *conn) Ping() {
	c.touch()
	c.sendControl(opPing, nil, -1)
}

func (c *conn) answerPing(payload []byte) { c.sendControl(opPong, payload, maxPongs) }

// SendClose implements pagi.WebSocketConn.
func (c *conn) SendClose(code int, reason string) {
	payload := websocket.FormatCloseMessage(code, reason)
	c.sendControl(opClose, payload[:min(len(payload), maxControl)], -1)
}

// sendControl sends a control frame, unless more than most bytes wait; below 0: in any
// case.
func (c *conn) sendControl(op byte, payload []byte, most int) {
	c.wmu.Lock()
	if c.closeSent || c.broken || most >= 0 && len(c.out) > most {
		c.wmu.Unlock()
		return
	}
	c.needOutput()
	c.out = append(appendHeader(c.out, op, false, len(payload)), payload...)
	c.closeSent = op == opClose
	c.push()
}

// push sees to it that what waits is written, at once where that needs no waiting. It
// is called with wmu held and releases it.
func (c *conn) push() {
	if c.writing {
		c.wmu.Unlock()
		return
	}
	added := 0
	if c.try != nil {
		n, err := c.try(c.out)
		c.sent.Add(int64(n))
		switch {
		case err != nil:
			charge := c.charge
			c.charge = 0
			c.releaseOutput()
			c.wmu.Unlock()
			c.flow.Add(-charge)
			c.lose()
			return
		case n == len(c.out):
			charge := c.charge
			c.charge = 0
			c.releaseOutput()
			c.wmu.Unlock()
			if charge > 0 {
				c.flow.Add(-charge)
			}
			return
		}
		c.out = c.out[:copy(c.out, c.out[n:])]
		if c.charge == 0 {
			added = len(c.out)
		}
	}
	c.writing = true
	c.wmu.Unlock()
	go c.flush()
	if added > 0 {
		c.count(added)
	}
}

// count lets flow count n bytes that a goroutine writes, or has written by now. What flow
// calls may send, and wait for that goroutine.
func (c *conn) count(n int) {
	c.flow.Add(n)
	c.wmu.Lock()
	writing := c.writing
	if writing {
		c.charge += n
	}
	c.wmu.Unlock()
	if !writing {
		c.flow.Add(-n)
	}
}

// releaseOutput gives the write buffer back.
func (c *conn) releaseOutput() {
	putOutput(c.out)
	c.out = nil
}

func putOutput(b []byte) {
	if cap(b) > 0 && cap(b) <= keptOutput {
		b = b[:0]
		outputs.Put(&b)
	}
}

// flush writes what waits until nothing does; then it ends. writing is set.
func (c *conn) flush() {
	c.wmu.Lock()
	for !c.broken && len(c.out) > 0 {
		p, charge := c.out, c.charge
		c.out, c.charge = nil, 0
		c.wmu.Unlock()
		c.write(p, charge)
		putOutput(p)
		c.wmu.Lock()
	}
	charge := c.charge
	c.charge, c.writing = 0, false
	c.releaseOutput()
	for _, ch := range []*chan struct{}{&c.drained, &c.quiet} {
		if *ch != nil {
			close(*ch)
			*ch = nil
		}
	}
	c.wmu.Unlock()
	c.flow.Add(-charge)
}

// write writes p, for which flow counts charge.
func (c *conn) write(p []byte, charge int) {
	defer func() { c.written(charge) }()
	limit := c.server.WriteTimeout
	var late *time.Timer
	if limit > 0 {
		late = time.AfterFunc(limit, c.writeIsLate)
		defer late.Stop()
	}
	for len(p) > 0 {
		n, err := c.link.Write(p[:min(len(p), writePiece)])
		c.sent.Add(int64(n))
		if err != nil {
			c.lose() // before flow calls somebody who sends, and waits for this goroutine
			return
		}
		c.touch()
		if late != nil {
			late.Reset(limit)
		}
		p = p[n:]
		gone := charge - min(charge, len(p))
		charge -= gone
		c.written(gone)
	}
}

// written lets flow count n bytes less. What it calls may send, and wait for the
// goroutine that writes: this one. So it has a goroutine of its own.
func (c *conn) written(n int) {
	if call := c.flow.Count(-n); call != nil {
		go call()
	}
	c.tellRoom()
}

// writeIsLate gives a client up that takes nothing. On HTTP/2 the deadline resets the
// stream, which the reader may see first: so the reason is noted before.
func (c *conn) writeIsLate() {
	c.ended.CompareAndSwap(nil, &pagi.WebSocketEnd{Code: codeAbnormal, Reason: pagi.ReasonWriteTimeout})
	_ = c.link.SetWriteDeadline(past) // of one that is closed nobody writes
}

// lose ends the connection after a write that failed. A client that has sent Close
// before it left is still heard.
func (c *conn) lose() {
	first := c.ended.CompareAndSwap(nil, &pagi.WebSocketEnd{Code: codeAbnormal, Reason: pagi.ReasonWriteError})
	c.wmu.Lock()
	c.broken = true
	c.wmu.Unlock()
	if !first || c.link.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		_ = c.link.Close() // which wakes Receive
	}
}

// awaitRoom waits while the client is behind.
func (c *conn) awaitRoom(ctx context.Context) error {
	if c.flow.BufferedAmount() < c.flow.HighWaterMark() {
		return nil
	}
	for {
		c.wmu.Lock()
		if c.broken {
			c.wmu.Unlock()
			return errGone
		}
		if !c.writing || c.flow.BufferedAmount() < c.flow.LowWaterMark() {
			c.wmu.Unlock()
			return nil
		}
		if c.drained == nil {
			c.drained = make(chan struct{})
		}
		drained := c.drained
		c.wmu.Unlock()
		select {
		case <-drained:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// tellRoom wakes who waits in awaitRoom, if there is room.
func (c *conn) tellRoom() {
	if c.flow.BufferedAmount() >= c.flow.LowWaterMark() {
		return
	}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	if c.drained != nil {
		close(c.drained)
		c.drained = nil
	}
}
