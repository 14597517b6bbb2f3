package ws

import (
	"bytes"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// TestMuchReadAhead takes every message of a client that did not wait for the
// handshake's answer.
func TestMuchReadAhead(t *testing.T) {
	const count, size = 40, 1000
	said := bytes.Repeat(append([]byte{bitFin | opText, bitMask | 126, size >> 8, size & 0xff, 0, 0, 0, 0}, strings.Repeat("x", size)...), count)
	c := (&Server{}).newConn(&tape{}, said, &pagi.Scope{}, engine.WebSocketHooks{Flow: engine.NewFlowMeter(0, 0)}, nil)
	defer c.Drop()
	for n := range count {
		if m, err := c.Receive(); err != nil || m.Text != strings.Repeat("x", size) {
			t.Fatalf("message %d has %d bytes, %v", n, len(m.Text), err)
		}
	}
}
