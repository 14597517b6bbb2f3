package http2

import "encoding/binary"

// settingLength is how long one setting is (RFC 9113 section 6.5.1).
const settingLength = 6

// settings gives a SETTINGS frame to the server, without the settings that the server handles
// wrongly.
//
// A frame may name a setting twice; the values apply in their order (RFC 9113 section 6.5.3). The
// server takes such a frame for an error, so only the last value is passed on.
//
// SETTINGS_HEADER_TABLE_SIZE makes the server change the table with which another goroutine may be
// encoding a response. The process then ends by a concurrent write to a map. So the setting passes
// in the first frame only, before any response. A larger table later need not be used. A client
// that wants a smaller one later has its connection ended; no known client does.
func (c *Conn) settings(head frameHead) error {
	frame, err := c.whole(head)
	if err != nil {
		return err
	}
	if err := c.hurry(c.block); err != nil {
		return err
	}
	c.ready = frame
	if payload := frame[headLength:]; head.flags&flagAck == 0 && head.stream == 0 && len(payload)%settingLength == 0 {
		if len(c.first) > 0 {
			payload = append(c.first, payload...)
			c.ready = appendFrame(nil, head.kind, head.flags, 0, payload...)
			c.first = nil
		}
		last, err := c.tableSettings(lastSettings(payload))
		if err != nil {
			return err
		}
		if len(last) < len(payload) {
			c.ready = appendFrame(nil, head.kind, head.flags, 0, last...)
		}
	}
	if len(c.inject) > 0 {
		c.ready = append(c.ready[:len(c.ready):len(c.ready)], c.inject...)
		c.inject = nil
	}
	return nil
}

// tableSettings returns the settings without SETTINGS_HEADER_TABLE_SIZE, unless they are the first
// of the connection.
func (c *Conn) tableSettings(payload []byte) ([]byte, error) {
	const headerTableSize = 0x1
	first := !c.settled
	c.settled = true
	kept := payload[:0:0]
	for ; len(payload) > 0; payload = payload[settingLength:] {
		one := payload[:settingLength]
		if binary.BigEndian.Uint16(one) == headerTableSize {
			size := binary.BigEndian.Uint32(one[2:])
			switch {
			case first:
				c.table = min(size, tableSize)
			case size < c.table:
				return nil, c.end("a smaller header table than at the beginning")
			default:
				continue
			}
		}
		kept = append(kept, one...)
	}
	return kept, nil
}

// maxSettings is how many settings of one frame are looked at. No known client sends as many.
const maxSettings = 100

// lastSettings returns the settings without those that a later one replaces. Wrong values stay, so
// that no error is hidden.
func lastSettings(payload []byte) []byte {
	if len(payload) > maxSettings*settingLength {
		return payload
	}
	last := make([]byte, 0, len(payload))
	for i := 0; i < len(payload); i += settingLength {
		one := payload[i : i+settingLength]
		if isWrong(one) || !hasSetting(payload[i+settingLength:], one) {
			last = append(last, one...)
		}
	}
	return last
}

func hasSetting(payload, one []byte) bool {
	for ; len(payload) > 0; payload = payload[settingLength:] {
		if payload[0] == one[0] && payload[1] == one[1] {
			return true
		}
	}
	return false
}

// isWrong reports whether RFC 9113 section 6.5.2 forbids the value.
func isWrong(one []byte) bool {
	const enablePush, initialWindowSize, maxFrameSize = 0x2, 0x4, 0x5
	value := binary.BigEndian.Uint32(one[2:])
	switch binary.BigEndian.Uint16(one) {
	case enablePush:
		return value > 1
	case initialWindowSize:
		return value > 1<<31-1
	case maxFrameSize:
		return value < 1<<14 || value > 1<<24-1
	}
	return false
}
