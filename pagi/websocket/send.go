package websocket

import (
	"encoding/json"
	"fmt"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// SendText sends a text message, which must be UTF-8. It blocks while the client is behind. After the
// end of the connection the error is a *CloseError.
func (c *Conn) SendText(text string) error {
	return c.sendInState(open, pagi.WebSocketSend{Text: text}, nil)
}

// SendBytes sends a binary message; see SendText.
func (c *Conn) SendBytes(b []byte) error {
	return c.sendInState(open, pagi.WebSocketSend{Bytes: b, Binary: true}, nil)
}

// SendJSON sends v as JSON in a text message; see SendText.
func (c *Conn) SendJSON(v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("websocket: %w", err)
	}
	return c.SendText(string(text))
}

// TrySendText sends a text message if that is possible at once: the connection is open, no other send
// is running, and the client is not behind (see IsWritable). It reports whether the message was sent.
// A message that was not is dropped; the connection stays as it is.
func (c *Conn) TrySendText(text string) bool {
	return c.trySend(pagi.WebSocketSend{Text: text})
}

// TrySendBytes is TrySendText for a binary message.
func (c *Conn) TrySendBytes(b []byte) bool {
	return c.trySend(pagi.WebSocketSend{Bytes: b, Binary: true})
}

// TrySendJSON is TrySendText for v as JSON; a value that cannot be encoded is not sent.
func (c *Conn) TrySendJSON(v any) bool {
	text, err := json.Marshal(v)
	return err == nil && c.TrySendText(string(text))
}

// IsWritable reports whether a send would not have to wait: the connection is open and fewer bytes
// are buffered than the transport's high-water mark. Without a transport, an open connection is
// writable.
func (c *Conn) IsWritable() bool {
	return c.refuseState(open) == nil && !c.isBehind()
}

// isBehind reports whether the client has not taken what was sent.
func (c *Conn) isBehind() bool {
	t := c.request.Scope().Transport
	if t == nil {
		return false
	}
	high := t.HighWaterMark()
	return high > 0 && t.BufferedAmount() >= high
}

func (c *Conn) trySend(ev pagi.WebSocketSend) bool {
	if !c.sending.TryLock() {
		return false
	}
	defer c.sending.Unlock()
	return c.refuseState(open) == nil && !c.isBehind() && c.send(c.ctx, ev) == nil
}

// sendInState sends ev if the connection is in the state that ev needs. done then runs with mu held.
func (c *Conn) sendInState(need state, ev pagi.Event, done func()) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	if err := c.refuseState(need); err != nil {
		return err
	}
	if err := c.send(c.ctx, ev); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if done != nil {
		done()
	}
	return nil
}

// refuseState says why the connection is not in the state that an event needs; nil if it is.
func (c *Conn) refuseState(need state) error {
	if err := c.Err(); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.state {
	case need:
		return nil
	case open:
		return ErrAccepted
	}
	return ErrNotAccepted
}
