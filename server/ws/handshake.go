package ws

import (
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"

	"github.com/pagi-go/pagi-bridge/internal/headername"
	"github.com/pagi-go/pagi-bridge/internal/wscompression"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// guid is the constant in the answer to a key (RFC 6455 section 1.3).
const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// taker is a stream of HTTP/1.
type taker interface {
	// TakeConn takes the connection from its server. ahead is what was read and not used.
	TakeConn() (conn net.Conn, ahead []byte, err error)
}

// wrapper is a stream that was made of an http.ResponseWriter.
type wrapper interface {
	Unwrap() http.ResponseWriter
}

// Upgrade implements engine.WebSocketUpgrader.
func (s *Server) Upgrade(stream engine.Stream, r *http.Request, scope *pagi.Scope, accept pagi.WebSocketAccept, hooks engine.WebSocketHooks) (engine.WebSocketConn, error) {
	agreed := s.agree(scope)
	headers := pagi.Headers{}
	if accept.Subprotocol != "" {
		headers.Add("sec-websocket-protocol", accept.Subprotocol)
	}
	if agreed != nil {
		headers.Add("sec-websocket-extensions", agreed.String())
	}
	headers = append(headers, accept.Headers...)
	if r.ProtoMajor > 1 {
		return s.upgradeStream(stream, r, scope, headers, hooks, agreed)
	}
	from, ok := stream.(taker)
	if !ok {
		return nil, errors.New("websocket: the connection cannot be taken from its server")
	}
	conn, ahead, err := from.TakeConn()
	if err != nil {
		return nil, fmt.Errorf("websocket: taking the connection: %w", err)
	}
	c := s.newConn(conn, ahead, scope, hooks, agreed)
	c.wmu.Lock()
	c.needOutput()
	c.out = append(c.out, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	c.out = append(append(c.out, answerKey(scope.Headers.Get("sec-websocket-key"))...), "\r\n"...)
	for _, h := range headers {
		c.out = append(c.out, headername.Canonical(h.Name)+": "+h.Value+"\r\n"...)
	}
	c.out = append(c.out, "\r\n"...)
	c.sent.Store(-int64(len(c.out))) // the response to the handshake is not a frame
	c.push()
	c.start()
	return c, nil
}

// agree returns the extension that the WebSocket is to have; nil: none.
func (s *Server) agree(scope *pagi.Scope) *extension {
	settings := wscompression.Settings{Off: s.NoCompression, MinSize: minCompressed}
	if own, ok := scope.Stash.Get(wscompression.Key{}); ok {
		settings = own.(wscompression.Settings)
	}
	if settings.Off {
		return nil
	}
	agreed := negotiate(scope.Headers)
	if agreed != nil {
		agreed.minSize = settings.MinSize
		agreed.serverNoTakeover = agreed.serverNoTakeover || settings.ServerNoTakeover
		agreed.clientNoTakeover = agreed.clientNoTakeover || settings.ClientNoTakeover
	}
	return agreed
}

// upgradeStream answers an extended CONNECT (RFC 8441 section 5).
func (s *Server) upgradeStream(stream engine.Stream, r *http.Request, scope *pagi.Scope, headers pagi.Headers, hooks engine.WebSocketHooks, agreed *extension) (engine.WebSocketConn, error) {
	wrapped, ok := stream.(wrapper)
	if !ok {
		return nil, errors.New("websocket: the stream cannot be used without its server")
	}
	w := wrapped.Unwrap()
	to := w.Header()
	for _, h := range headers {
		name := headername.Canonical(h.Name)
		to[name] = append(to[name], h.Value)
	}
	link := newStream(w, r)
	w.WriteHeader(http.StatusOK)
	if err := link.rc.Flush(); err != nil {
		return nil, fmt.Errorf("websocket: %w", err)
	}
	c := s.newConn(link, nil, scope, hooks, agreed)
	c.start()
	return c, nil
}

// answerKey returns what Sec-WebSocket-Accept must be (RFC 6455 section 4.2.2).
func answerKey(key string) string {
	sum := sha1.Sum([]byte(key + guid))
	return base64.StdEncoding.EncodeToString(sum[:])
}
