package pagi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// FromHTTP makes an App of a net/http handler, so that a mux, a router or a
// gateway can be mounted among PAGI applications. An sse scope is answered with the
// handler's ordinary response, which may be an event stream of its own making, without
// trailers and interim responses. Other scopes are declined.
//
// The request's URL.Path is the scope's Path, without RootPath, as behind
// http.StripPrefix; RequestURI is what the client sent; Trailer is filled when Body has
// been read to its end. The ResponseWriter knows Flush, interim responses, trailers and
// the *os.File that io.Copy and http.ServeContent hand it, which leaves as a file event.
// It cannot be hijacked.
func FromHTTP(h http.Handler) App { return fromHTTP{h} }

type fromHTTP struct{ handler http.Handler }

func (f fromHTTP) Serve(ctx context.Context, scope *Scope, receive Receive, send Send) error {
	switch scope.Type {
	case TypeHTTP:
	case TypeSSE:
		send = sendDeclining(send)
	default:
		return Unsupported(scope)
	}
	r, err := newHTTPRequest(ctx, scope, receive)
	if err != nil {
		return err
	}
	w := newEventWriter(r.Context(), scope, send)
	defer w.release()
	f.handler.ServeHTTP(w, r)
	return w.finish()
}

// sendDeclining returns a Send that answers an sse scope with the events of an
// ordinary response.
func sendDeclining(send Send) Send {
	return func(ctx context.Context, ev Event) error {
		switch e := ev.(type) {
		case HTTPResponseStart:
			ev = SSEHTTPResponseStart{Status: e.Status, Headers: e.Headers}
		case HTTPResponseBody:
			ev = SSEHTTPResponseBody{Body: e.Body, More: e.More}
		case HTTPResponseTrailers:
			return nil
		}
		return send(ctx, ev)
	}
}

// newHTTPRequest builds the request a net/http server would have built.
func newHTTPRequest(ctx context.Context, scope *Scope, receive Receive) (*http.Request, error) {
	if !scope.Server.IsZero() {
		ctx = context.WithValue(ctx, http.LocalAddrContextKey, scopeAddr{scope.Server})
	}
	r := (&http.Request{
		Method:     scope.Method,
		URL:        &url.URL{Path: scope.Path, RawPath: mountedRawPath(scope), RawQuery: scope.QueryString},
		RequestURI: requestURI(scope),
		RemoteAddr: scopeAddr{scope.Client}.String(),
		TLS:        connectionState(scope.TLS()),
	}).WithContext(ctx)
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
		case EqualFold(h.Name, "host"):
			r.Host = h.Value
			continue
		case EqualFold(h.Name, "content-length"):
			if n, err := strconv.ParseInt(h.Value, 10, 64); err == nil && n >= 0 {
				length = n
			}
		}
		key := CanonicalName(h.Name)
		r.Header[key] = append(r.Header[key], h.Value)
	}
	announce(r)
	return r, setBody(r, length, receive)
}

// mountedRawPath returns the part of the path as sent that is below RootPath; ""
// where the two do not meet at the same place. It is only a hint: URL.EscapedPath
// uses it when it decodes to Path.
func mountedRawPath(scope *Scope) string {
	if scope.RawPath == scope.Path {
		return ""
	}
	rest, ok := strings.CutPrefix(scope.RawPath, scope.RootPath)
	if !ok || rest == scope.Path {
		return ""
	}
	return rest
}

func requestURI(scope *Scope) string {
	uri := scope.RawPath
	if uri == "" {
		uri = (&url.URL{Path: scope.RootPath + scope.Path}).EscapedPath()
	}
	if scope.QueryString != "" {
		uri += "?" + scope.QueryString
	}
	return uri
}

// scopeAddr is a scope's address as a net.Addr.
type scopeAddr struct{ Addr }

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

// connectionState returns what of a TLS connection a scope tells.
func connectionState(t *TLS) *tls.ConnectionState {
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
