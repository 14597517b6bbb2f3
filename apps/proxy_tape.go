package apps

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
)

// maxHandshake is how many bytes a backend may send before a handshake is complete.
const maxHandshake = 64 << 10

var errLongHandshake = errors.New("the answer to the handshake is too large")

// tape is a connection that keeps what is read during the handshake of a WebSocket. The WebSocket
// library reads only the beginning of a refusal, and closes the connection. With the tape all of
// the refusal can be read.
type tape struct {
	net.Conn
	over bool // the handshake is complete
	read []byte
}

// Read implements net.Conn.
func (t *tape) Read(p []byte) (int, error) {
	if t.over {
		return t.Conn.Read(p)
	}
	if len(t.read) >= maxHandshake { // each time: readers may try again after an error
		return 0, errLongHandshake
	}
	n, err := t.Conn.Read(p)
	t.read = append(t.read, p[:n]...)
	return n, err
}

// Close implements net.Conn. During the handshake it does nothing.
func (t *tape) Close() error {
	if t.over {
		return t.Conn.Close()
	}
	return nil
}

// stop ends the handshake.
func (t *tape) stop() { t.over, t.read = true, nil }

// response reads the answer to the handshake from its beginning.
func (t *tape) response() (*http.Response, error) {
	played := io.MultiReader(bytes.NewReader(t.read), t.Conn)
	t.stop()
	return http.ReadResponse(bufio.NewReader(played), &http.Request{Method: http.MethodGet})
}
