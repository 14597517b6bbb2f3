package ws

import (
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// guid makes the answer to a key (RFC 6455 section 1.3).
const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// taker is an http.ResponseWriter whose connection can be had without buffers.
type taker interface {
	TakeConn() (conn net.Conn, ahead []byte, err error)
}

// Upgrade implements pagi.WebSocketUpgrader.
func (s *Server) Upgrade(w http.ResponseWriter, r *http.Request, scope *pagi.Scope, accept pagi.WebSocketAccept, hooks pagi.WebSocketHooks) (pagi.WebSocketConn, error) {
	var agreed *extension
	if !s.NoCompression {
		agreed = negotiate(scope.Headers)
	}
	headers := pagi.Headers{}
	if accept.Subprotocol != "" {
		headers.Add("sec-websocket-protocol", accept.Subprotocol)
	}
	if agreed != nil {
		headers.Add("sec-websocket-extensions", agreed.String())
	}
	headers = append(headers, accept.Headers...)
	if r.ProtoMajor > 1 {
		return s.upgradeStream(w, r, headers, hooks, agreed)
	}
	conn, ahead, err := take(w)
	if err != nil {
		return nil, fmt.Errorf("websocket: taking the connection: %w", err)
	}
	c := s.newConn(conn, ahead, hooks, agreed)
	c.wmu.Lock()
	c.needOutput()
	c.out = append(c.out, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	c.out = append(append(c.out, answerKey(scope.Headers.Get("sec-websocket-key"))...), "\r\n"...)
	for _, h := range headers {
		c.out = append(c.out, pagi.CanonicalName(h.Name)+": "+h.Value+"\r\n"...)
	}
	c.out = append(c.out, "\r\n"...)
	c.sent.Store(-int64(len(c.out))) // it is no frame
	c.push()
	c.start()
	return c, nil
}

// upgradeStream answers an extended CONNECT (RFC 8441 section 5).
func (s *Server) upgradeStream(w http.ResponseWriter, r *http.Request, headers pagi.Headers, hooks pagi.WebSocketHooks, agreed *extension) (pagi.WebSocketConn, error) {
	to := w.Header()
	for _, h := range headers {
		name := pagi.CanonicalName(h.Name)
		to[name] = append(to[name], h.Value)
	}
	link := newStream(w, r)
	w.WriteHeader(http.StatusOK)
	if err := link.rc.Flush(); err != nil {
		return nil, fmt.Errorf("websocket: %w", err)
	}
	c := s.newConn(link, nil, hooks, agreed)
	c.start()
	return c, nil
}

// take takes the connection from its server, with what was read of it and not used.
func take(w http.ResponseWriter) (net.Conn, []byte, error) {
	if t, ok := w.(taker); ok {
		return t.TakeConn()
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, nil, err
	}
	ahead, err := buffered.Reader.Peek(buffered.Reader.Buffered())
	return conn, ahead, errors.Join(err, conn.SetDeadline(time.Time{}))
}

// answerKey returns what Sec-WebSocket-Accept must be (RFC 6455 section 4.2.2).
func answerKey(key string) string {
	sum := sha1.Sum([]byte(key + guid))
	return base64.StdEncoding.EncodeToString(sum[:])
}
