package perlpagi

import (
	"crypto/rand"
	"encoding/base64"
	"maps"
	"slices"
	"strconv"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/internal/metavars"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// environ returns a scope for an application of PSGI: it carries the environment in place of the headers. That of a
// WebSocket looks like a request of HTTP/1.1 for an upgrade, whatever the version of HTTP. In a path a NUL is an error.
func environ(s *pagi.Scope) (*pagi.Scope, error) {
	made := s.Clone()
	if s.Type == pagi.TypeWebSocket {
		asUpgrade(made)
	}
	length := int64(-1)
	if text, has := made.Headers.Lookup("content-length"); has {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			length = n
		}
	}
	var pairs wire.Pairs
	metavars.Each(made, metavars.Options{ContentLength: length, Authorization: true}, func(name, value string) {
		pairs = append(pairs, name, value)
	})
	pairs = append(pairs, "psgi.url_scheme", made.Scheme)
	if slices.ContainsFunc([]byte(made.Path), func(c byte) bool { return c == 0 }) {
		return nil, &pagi.StatusError{Status: 400, Message: "Bad Request", Err: wire.ErrNUL}
	}
	extensions := maps.Clone(s.Extensions)
	if extensions == nil {
		extensions = map[string]any{}
	}
	extensions[wire.ExtEnviron] = pairs
	made.Extensions = extensions
	made.Headers, made.RawPath, made.Target, made.QueryString = nil, "", "", ""
	return made, nil
}

// asUpgrade gives the scope of a WebSocket the fields of RFC 6455 section 4.1. No extension is offered: the gateway itself
// compresses messages.
func asUpgrade(s *pagi.Scope) {
	s.Method, s.HTTPVersion = "GET", "1.1"
	s.Scheme = map[string]string{"ws": "http", "wss": "https"}[s.Scheme]
	headers := slices.DeleteFunc(slices.Clone(s.Headers), func(h pagi.Header) bool {
		switch h.Name {
		case "upgrade", "connection", "sec-websocket-extensions", "sec-websocket-version", "sec-websocket-protocol":
			return true
		}
		return false
	})
	headers = append(headers,
		pagi.Header{Name: "upgrade", Value: "websocket"},
		pagi.Header{Name: "connection", Value: "Upgrade"},
		pagi.Header{Name: "sec-websocket-version", Value: "13"},
	)
	for _, name := range s.Subprotocols {
		headers = append(headers, pagi.Header{Name: "sec-websocket-protocol", Value: name})
	}
	if !headers.Has("sec-websocket-key") { // over HTTP/2 and HTTP/3 there is none
		var key [16]byte
		_, _ = rand.Read(key[:]) // it never fails
		headers = append(headers, pagi.Header{Name: "sec-websocket-key", Value: base64.StdEncoding.EncodeToString(key[:])})
	}
	s.Headers = headers
}
