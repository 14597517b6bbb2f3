package ws

import (
	"context"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

const (
	// outputRoom is the size of a new write buffer. keptOutput is the size of the largest one that
	// is kept for other connections.
	outputRoom = 2 << 10
	keptOutput = 64 << 10
	// writePiece is how many bytes must leave within the WriteTimeout.
	writePiece = 64 << 10
	// maxPongs is how many bytes may wait. With more, a ping is not answered: only the last one has
	// to be (RFC 6455 section 5.5.3).
	maxPongs = 4 << 10
)

// outputs are empty write buffers whose bytes have all left. A buffer whose write has failed is not
// among them, because the link may still hold it. An HTTP/2 stream does so when its connection has
// ended.
var outputs = sync.Pool{New: func() any { b := make([]byte, 0, outputRoom); return &b }}

// errGone is what Send returns when nothing can be sent any more.
var errGone = &engine.WebSocketEnd{Code: codeAbnormal, Reason: pagi.ReasonClientClosed}

// Send implements engine.WebSocketConn. The client is behind from when the waiting bytes reach the
// high-water mark until they fall below the low one.
func (c *conn) Send(ctx context.Context, m pagi.WebSocketSend) error {
	if err := c.awaitRoom(ctx); err != nil {
		return err
	}
	c.touch()
	c.wmu.Lock()
	charged := 0
	if c.writing || c.try == nil { // the message will wait, if only for a moment
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

// appendMessage appends a message to the waiting bytes. wmu is held.
func appendMessage[T string | []byte](c *conn, op byte, payload T) {
	c.needOutput()
	if c.deflater != nil && len(payload) >= c.deflater.minSize {
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

// Ping implements engine.WebSocketConn. The ping is sent however much waits, because a pong is
// awaited.
func (c *conn) Ping() {
	c.touch()
	c.sendControl(opPing, nil, -1)
}

func (c *conn) answerPing(payload []byte) { c.sendControl(opPong, payload, maxPongs) }

// SendClose implements engine.WebSocketConn.
func (c *conn) SendClose(code int, reason string) {
	payload := websocket.FormatCloseMessage(code, reason)
	c.sendControl(opClose, payload[:min(len(payload), maxControl)], -1)
}

// sendControl sends a control frame, unless more than most bytes wait. With a most below 0 it
// always sends.
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

// push writes the waiting bytes at once where that needs no waiting, and otherwise makes a
// goroutine write them. It is called with wmu held and releases it.
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

// count makes flow count n bytes that a goroutine writes or has written by now. Callbacks of flow
// may send, and so wait for that goroutine.
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

// flush writes until no bytes wait, and then ends. writing is set meanwhile.
func (c *conn) flush() {
	c.wmu.Lock()
	for !c.broken && len(c.out) > 0 {
		p, charge := c.out, c.charge
		c.out, c.charge = nil, 0
		c.wmu.Unlock()
		if c.write(p, charge) {
			putOutput(p)
		}
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

// write writes p, for which flow counts charge, and reports whether all of it has left.
func (c *conn) write(p []byte, charge int) bool {
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
			c.lose() // before a callback of flow sends, and so waits for this goroutine
			return false
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
	return true
}

// written makes flow count n bytes less. Callbacks of flow may send, and so wait for the goroutine
// that writes, which calls written. So they run on a goroutine of their own.
func (c *conn) written(n int) {
	if c.flow.Count(-n); c.flow.IsDue() {
		go c.flow.CallDue()
	}
	c.tellRoom()
}

// writeIsLate gives up a client that takes nothing. On HTTP/2 the deadline resets the stream, and
// the reader may see that first. So writeIsLate notes the reason before it sets the deadline.
func (c *conn) writeIsLate() {
	c.ended.CompareAndSwap(nil, &engine.WebSocketEnd{Code: codeAbnormal, Reason: pagi.ReasonWriteTimeout})
	_ = c.link.SetWriteDeadline(past) // of one that is closed nobody writes
}

// lose ends the connection after a write that failed. A client that has sent Close
// before it left is still heard.
func (c *conn) lose() {
	first := c.ended.CompareAndSwap(nil, &engine.WebSocketEnd{Code: codeAbnormal, Reason: pagi.ReasonWriteError})
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

// tellRoom wakes the Sends that wait in awaitRoom, if there is room.
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
