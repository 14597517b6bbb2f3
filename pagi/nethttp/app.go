// Package nethttp connects net/http with PAGI, both ways: App makes an application of an
// http.Handler, Handler makes an http.Handler of an application.
//
// It may import package pagi/engine, everything that pagi/engine may import, and package server/ws,
// which makes WebSockets of handshakes.
//
// Files: app.go, body.go, writer.go and websocket.go run an http.Handler in a scope. They build its
// request, read the body, turn the handler's output into events, and give it a connection to
// hijack. handler.go, adapter.go and stream.go run an application below an http.ResponseWriter.
// headers.go translates header maps.
package nethttp

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/headername"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// App makes a pagi.App of a net/http handler, so that a mux, a router or a gateway can be
// mounted among PAGI applications.
//
// The application serves http and websocket scopes. It declines sse scopes, and is then called with
// an http scope. It declines the lifespan scope, because a handler has nothing to start or to stop.
// Wrap the application in lifespan.Hooks if its handler has.
//
// The request's URL.Path is the scope's Path, without RootPath, as below http.StripPrefix. An empty
// Path becomes "/", because handlers expect a path that begins with a slash. RequestURI is the URI
// that the client sent. Trailer is filled once Body has been read to its end. The ResponseWriter
// supports Flush, interim responses and trailers. It sends an *os.File from io.Copy or
// http.ServeContent as a file event.
//
// In a websocket scope the handler finds a handshake of HTTP/1.1, without extensions, whatever
// the client's version of HTTP is, and may hijack the connection, as gorilla/websocket and
// coder/websocket do. Its messages are the scope's events, so that middleware sees them and
// the server's limits hold. Pings that the handler sends are answered here, and do not reach the
// client: a client that is gone without a word is found by the server's ws_idle_timeout, or by
// middleware that sends pagi.WebSocketKeepalive. A connection that the handler closes without a Close
// frame is closed with 1000. Any other response denies the handshake. In an http scope the
// connection cannot be hijacked.
//
// The request's Body and the ResponseWriter end when the handler returns. In a goroutine that goes
// on, Read then returns http.ErrBodyReadAfterClose and Write http.ErrHandlerTimeout.
func App(h http.Handler) pagi.App { return app{h} }

type app struct{ handler http.Handler }

func (a app) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	switch scope.Type {
	case pagi.TypeHTTP:
	case pagi.TypeWebSocket:
		return a.serveWebSocket(ctx, scope, receive, send)
	case "":
		return errors.New("nethttp: the scope has no type; a server sets Scope.Type, pagi.TypeHTTP for a request")
	default:
		return pagi.Unsupported(scope)
	}
	r, err := newHTTPRequest(ctx, scope, receive)
	if err != nil {
		return err
	}
	w := newEventWriter(r.Context(), scope, send)
	defer w.end() // in case the handler panics
	a.call(w, r)
	return w.finish()
}

// call runs the handler and ends its request's body.
func (a app) call(w http.ResponseWriter, r *http.Request) {
	if body, is := r.Body.(*handlerBody); is { // a handler may set r.Body
		defer body.end()
	}
	a.handler.ServeHTTP(w, r)
}

// newHTTPRequest builds the request that a net/http server would have built.
func newHTTPRequest(ctx context.Context, scope *pagi.Scope, receive pagi.Receive) (*http.Request, error) {
	if !scope.Server.IsZero() {
		ctx = context.WithValue(ctx, http.LocalAddrContextKey, scopeAddr{scope.Server})
	}
	r := (&http.Request{
		Method:     scope.Method,
		URL:        &url.URL{Path: cmp.Or(scope.Path, "/"), RawPath: mountedRawPath(scope), RawQuery: scope.QueryString},
		RequestURI: scope.RequestURI(),
		RemoteAddr: scopeAddr{scope.Client}.String(),
		TLS:        connectionState(scope.TLS()),
	}).WithContext(ctx)
	r.URL.ForceQuery = scope.QueryString == "" && strings.HasSuffix(scope.Target, "?")
	switch scope.HTTPVersion {
	case "1.0":
		r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.0", 1, 0
	case "2":
		r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
	case "3":
		r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/3.0", 3, 0
	default:
		r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/1.1", 1, 1
	}
	r.Header = make(http.Header, len(scope.Headers))
	length := int64(-1)
	for _, h := range scope.Headers {
		switch {
		case pagi.EqualFold(h.Name, "host"):
			r.Host = h.Value
			continue
		case pagi.EqualFold(h.Name, "content-length"):
			if n, err := strconv.ParseInt(h.Value, 10, 64); err == nil && n >= 0 {
				length = n
			}
		}
		key := headername.Canonical(h.Name)
		r.Header[key] = append(r.Header[key], h.Value)
	}
	announce(r)
	return r, setBody(r, length, receive)
}

// mountedRawPath returns the part of the raw path below RootPath; "" if the raw path does not split
// at that point. It is only a hint: URL.EscapedPath uses it when it decodes to Path.
func mountedRawPath(scope *pagi.Scope) string {
	if scope.RawPath == scope.Path {
		return ""
	}
	rest, ok := strings.CutPrefix(scope.RawPath, scope.RootPath)
	if !ok || rest == scope.Path {
		return ""
	}
	return rest
}

// scopeAddr is a scope's address as a net.Addr.
type scopeAddr struct{ pagi.Addr }

func (a scopeAddr) Network() string {
	if a.Port == 0 {
		return "unix"
	}
	return "tcp"
}

func (a scopeAddr) String() string {
	if a.Port == 0 {
		return a.Host
	}
	return net.JoinHostPort(a.Host, strconv.Itoa(a.Port))
}

// connectionState returns the part of a TLS connection's state that a scope contains.
func connectionState(t *pagi.TLS) *tls.ConnectionState {
	if t == nil {
		return nil
	}
	state := &tls.ConnectionState{Version: t.Version, CipherSuite: t.CipherSuite, HandshakeComplete: true}
	for _, text := range t.ClientCertChain {
		block, _ := pem.Decode([]byte(text))
		if block == nil {
			continue
		}
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			state.PeerCertificates = append(state.PeerCertificates, cert)
		}
	}
	if t.ClientCertError == "" && len(state.PeerCertificates) > 0 {
		state.VerifiedChains = [][]*x509.Certificate{state.PeerCertificates}
	}
	return state
}
