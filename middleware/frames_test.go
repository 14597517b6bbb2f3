package middleware_test

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// rawSocket is the client of a WebSocket that looks at frames.
type rawSocket struct {
	net.Conn
	in     *bufio.Reader
	agreed string // the extensions
}

// dial makes a handshake that offers extensions.
func dial(t *testing.T, addr, extensions string) *rawSocket {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	_, err = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: "+extensions+"\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	s := &rawSocket{Conn: conn, in: bufio.NewReader(conn)}
	res, err := http.ReadResponse(s.in, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%v %v", res, err)
	}
	s.agreed = res.Header.Get("Sec-WebSocket-Extensions")
	return s
}

// echo sends a text of 126 to 65535 bytes, which is not compressed, and reports whether the answer is
// (RFC 7692 section 6).
func (s *rawSocket) echo(t *testing.T, text string) (compressed bool) {
	t.Helper()
	frame := binary.BigEndian.AppendUint16([]byte{0x81, 0x80 | 126}, uint16(len(text)))
	frame = append(frame, 0, 0, 0, 0) // a mask that changes nothing
	if _, err := s.Write(append(frame, text...)); err != nil {
		t.Fatal(err)
	}
	first, err := s.in.ReadByte()
	if err != nil || first&0x0f != 1 {
		t.Fatalf("%x %v", first, err)
	}
	return first&0x40 != 0
}
