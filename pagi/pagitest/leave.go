package pagitest

import "github.com/pagi-go/pagi-bridge/pagi"

// DisconnectAfter makes the client leave for the given reason, a constant of package pagi, when the
// application has sent n events. Send of the last of them returns when the client has left. A
// response that is complete by then stays so. With 0 the client leaves before the application is
// called; a WebSocket handshake needs at least 1, the accept.
//
// Over a socket the reason is the one that the server finds, 0 means at the first event, and a
// WebSocket may lose messages that were on their way.
func DisconnectAfter(n int, reason string) Option {
	return func(r *request) { r.leave = &leaving{events: n, bytes: -1, reason: reason} }
}

// DisconnectAfterBytes makes the client leave like DisconnectAfter when it has got n bytes of the
// response's body, and no more than these, or when the messages of a WebSocket have n bytes. The
// last message is whole.
func DisconnectAfterBytes(n int64, reason string) Option {
	return func(r *request) { r.leave = &leaving{events: -1, bytes: n, reason: reason} }
}

// leaving counts until a client leaves. A nil one never does.
type leaving struct {
	events int   // how many are still to come; negative: they do not count
	bytes  int64 // likewise
	reason string
}

// isNow counts an event with size bytes and reports whether the client leaves after it. excess is
// how many of the bytes it does not get.
func (l *leaving) isNow(size int) (now bool, excess int) {
	if l == nil {
		return false, 0
	}
	if l.events > 0 {
		l.events--
	}
	if l.bytes >= 0 {
		l.bytes -= int64(size)
		if l.bytes <= 0 {
			excess, l.bytes = int(-l.bytes), 0
		}
	}
	return l.events == 0 || l.bytes == 0, excess
}

// copied returns a leaving for one exchange, so that an option can be used for several.
func (l *leaving) copied() *leaving {
	if l == nil {
		return nil
	}
	c := *l
	return &c
}

// messageSize is the number of bytes of a WebSocket message in ev.
func messageSize(ev pagi.Event) int {
	m, _ := ev.(pagi.WebSocketSend)
	return len(m.Text) + len(m.Bytes)
}
