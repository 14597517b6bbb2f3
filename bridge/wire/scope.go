package wire

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

// MaxScope is the largest payload of a SCOPE frame, in bytes.
const MaxScope = 1 << 20

var scopeTypes = [...]string{1: pagi.TypeHTTP, 2: pagi.TypeWebSocket, 3: pagi.TypeSSE, 4: pagi.TypeLifespan}

// ExtEnviron is the extension of a scope for an application of PSGI: a value of type Pairs, the names and values of its
// environment. A scope with it needs no headers.
const ExtEnviron = "psgi.environ"

// Pairs is a list of names and values, one behind the other.
type Pairs []string

// AppendScope appends a SCOPE frame. What a scope has beside the fields that PROTOCOL.md lists does
// not cross the wire: State, Connection, Transport, Notes, Stash, and the values of With but for the
// request's id and the authenticated client. The error is ErrTooLarge, or about a type that the protocol does not have.
func AppendScope(b []byte, stream uint32, s *pagi.Scope) ([]byte, error) {
	kind := slices.Index(scopeTypes[:], s.Type)
	if kind < 1 {
		return b, fmt.Errorf("wire: a scope of type %q", s.Type)
	}
	start := len(b)
	b = appendHeader(b, 0, Scope, 0, stream)
	b = append(b, byte(kind))
	worker := ""
	if s.PAGI.WorkerNum > 0 {
		worker = strconv.Itoa(s.PAGI.WorkerNum)
	}
	requestID, _ := s.Value(scopekey.RequestID).(string)
	auth, _ := s.Auth()
	values := [...]string{
		s.HTTPVersion, s.Method, s.Scheme, s.Path, s.RawPath, s.Target, s.QueryString, s.RootPath,
		s.Client.Host, port(s.Client), s.Server.Host, port(s.Server), worker, requestID, auth.Type, auth.Username,
	}
	if requestID == "" && auth.Type == "" {
		b = appendList(b, values[:firstOptional]...)
	} else {
		b = appendList(b, values[:]...)
	}
	b = appendHeaders(b, s.Headers)
	b = appendList(b, s.Subprotocols...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(s.Extensions)))
	var few [8]string // as many as scopes have
	names := few[:0]
	for name := range s.Extensions {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		b = appendString(b, name)
		data := ""
		switch value := s.Extensions[name].(type) {
		case *pagi.TLS:
			data = string(appendTLS(nil, value))
		case Pairs:
			data = string(AppendPairs(nil, value...))
		}
		b = appendString(b, data)
	}
	size := len(b) - start - HeaderSize
	if size > MaxScope {
		return b[:start], fmt.Errorf("%w: a scope of %d bytes, at most %d are allowed", ErrTooLarge, size, MaxScope)
	}
	binary.BigEndian.PutUint32(b[start:], uint32(size))
	return b, nil
}

// firstOptional is the first value of a scope that is left out, with those behind it, where they are empty.
const firstOptional = 13

func port(a pagi.Addr) string {
	if a.Port == 0 {
		return ""
	}
	return strconv.Itoa(a.Port)
}

func appendTLS(b []byte, t *pagi.TLS) []byte {
	pairs := []string{
		"version", strconv.Itoa(int(t.Version)), "cipher_suite", strconv.Itoa(int(t.CipherSuite)), "server_cert", t.ServerCert,
		"client_cert_name", t.ClientCertName, "client_cert_error", t.ClientCertError,
	}
	for _, pem := range t.ClientCertChain {
		pairs = append(pairs, "client_cert_chain", pem)
	}
	return AppendPairs(b, pairs...)
}

// DecodeScope decodes a SCOPE frame.
func DecodeScope(p []byte) (*pagi.Scope, error) {
	if len(p) > MaxScope {
		return nil, fmt.Errorf("%w: a scope of %d bytes, at most %d are allowed", ErrTooLarge, len(p), MaxScope)
	}
	d := decoder{p: p}
	kind := int(d.uint8())
	if kind < 1 || kind >= len(scopeTypes) {
		return nil, fmt.Errorf("%w: a scope of type %d", ErrMalformed, kind)
	}
	s := &pagi.Scope{Type: scopeTypes[kind], PAGI: pagi.Versions{Version: pagi.SpecVersion}}
	var client, server, worker, requestID string
	var auth pagi.Auth
	values := d.list()
	for i, field := range []*string{
		&s.HTTPVersion, &s.Method, &s.Scheme, &s.Path, &s.RawPath, &s.Target, &s.QueryString, &s.RootPath,
		&s.Client.Host, &client, &s.Server.Host, &server, &worker, &requestID, &auth.Type, &auth.Username,
	} {
		if i < len(values) {
			*field = values[i]
		}
	}
	s.Client.Port, s.Server.Port = d.number(client, 65535), d.number(server, 65535)
	if s.PAGI.WorkerNum = d.number(worker, 1<<31-1); worker != "" {
		s.PAGI.IsWorker = true
	}
	if requestID != "" {
		s.SetValue(scopekey.RequestID, requestID)
	}
	if auth.Type != "" {
		s.SetValue(scopekey.Auth, auth)
	}
	s.Headers = d.headers()
	s.Subprotocols = d.list()
	for _, ext := range d.headers() {
		if s.Extensions == nil {
			s.Extensions = map[string]any{}
		}
		s.Extensions[ext.Name] = struct{}{}
		if ext.Name == pagi.ExtTLS {
			t, err := decodeTLS([]byte(ext.Value))
			if err != nil {
				return nil, err
			}
			s.Extensions[ext.Name] = t
		}
	}
	if len(d.p) > 0 {
		d.bad = true
	}
	return s, d.err(Scope)
}

func decodeTLS(p []byte) (*pagi.TLS, error) {
	d := decoder{p: p}
	pairs := d.headers()
	t := &pagi.TLS{
		ServerCert: pairs.Get("server_cert"), ClientCertName: pairs.Get("client_cert_name"), ClientCertError: pairs.Get("client_cert_error"),
		ClientCertChain: slices.Collect(pairs.Values("client_cert_chain")),
		Version:         uint16(d.number(pairs.Get("version"), 65535)), CipherSuite: uint16(d.number(pairs.Get("cipher_suite"), 65535)),
	}
	return t, d.err(Scope)
}
