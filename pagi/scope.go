package pagi

import "net/url"

// The specification's version, which is the value of Scope.PAGI.Version, and its scope types.
const (
	SpecVersion   = "0.3"
	TypeHTTP      = "http"
	TypeWebSocket = "websocket"
	TypeSSE       = "sse"
	TypeLifespan  = "lifespan"
)

// Names of the extensions the specification defines; keys of Scope.Extensions.
const (
	// ExtFullFlush allows the HTTPFullFlush event. Its value is an empty struct.
	ExtFullFlush = "fullflush"
	// ExtTLS describes the TLS connection. Its value is a *TLS.
	ExtTLS = "tls"
	// ExtDenialResponse allows WebSocketHTTPResponseStart and -Body before a
	// WebSocketAccept. Its value is an empty struct.
	ExtDenialResponse = "websocket.http.response"
	// ExtInformational allows the HTTPResponseInformational event. It is this
	// implementation's own extension, so that an application behind a bridge can
	// send 103 Early Hints. Its value is an empty struct.
	ExtInformational = "http.informational"
)

// Versions is the "pagi" entry of a scope.
type Versions struct {
	// Version is the core specification's version, "0.3".
	Version string
	// SpecVersion is the protocol specification's; "" means the same.
	SpecVersion string
	// IsWorker and WorkerNum are set in lifespan scopes of multi-process
	// servers: WorkerNum counts from 1, 0 means a single process.
	IsWorker  bool
	WorkerNum int
}

// Addr is one end of a connection: a host (an IP address without brackets) and a
// port, or the path of a Unix socket with port 0. The zero Addr stands for an
// address that is not known.
type Addr struct {
	Host string
	Port int
}

// IsZero reports whether the address is not known.
func (a Addr) IsZero() bool { return a == Addr{} }

// Scope describes the request or connection for which an App is called. Which fields are set
// depends on Type: a lifespan scope has only Type, PAGI and State.
//
// Only the maker of a Scope may change it. Other code copies it with Clone or With and passes the
// copy down, so changes travel only towards the application. The copy is shallow on purpose; State,
// Stash, Connection, Transport and values reached through pointers are shared between all layers.
type Scope struct {
	// Type is TypeHTTP, TypeWebSocket, TypeSSE or TypeLifespan.
	Type string
	// PAGI names the specification's versions.
	PAGI Versions
	// HTTPVersion is "1.0", "1.1", "2" or "3".
	HTTPVersion string
	// Method is the HTTP method in upper case. Empty for websocket.
	Method string
	// Scheme is "http" or "https", for websocket "ws" or "wss".
	Scheme string
	// Path is the percent-decoded path below RootPath. A path that is not UTF-8 is kept as its
	// decoded bytes, the fallback of the specification. Path is "" if the client's path is RootPath
	// itself: for "/app" below a mount at "/app", while "/app/" has the path "/".
	Path string
	// RawPath is the path as the client sent it, before any decoding and including RootPath; "" if
	// not known.
	RawPath string
	// Target is RawPath with the query as sent: "/menu?" keeps its question mark. It is "" if not
	// known; RequestURI then builds it from other fields.
	Target string
	// QueryString is the text after the question mark, still percent-encoded.
	QueryString string
	// RootPath is the decoded prefix under which the application is mounted,
	// PSGI's SCRIPT_NAME: "" or a path without a slash at its end.
	RootPath string
	// Headers are the request's headers, with names in lower case and one cookie header.
	Headers Headers
	// Client and Server are the connection's two ends; zero when not known.
	Client, Server Addr
	// Subprotocols are the names that the client offered in Sec-WebSocket-Protocol.
	Subprotocols []string
	// State is the namespace the application filled during lifespan startup. In a lifespan scope it
	// is the map to fill; elsewhere it is a private shallow copy. It is nil without a lifespan.
	State map[string]any
	// Extensions holds the optional capabilities the server has for this
	// connection, by name. Never write to it.
	Extensions map[string]any
	// Connection is "pagi.connection"; set in http scopes.
	Connection Connection
	// Transport is "pagi.transport"; nil if the server cannot measure it.
	Transport Transport
	// Notes are for the server's log; nil if the server keeps none.
	Notes *LogNotes
	// Stash is "pagi.stash": values that all layers of this request share. It is nil in lifespan
	// scopes, and in a scope whose maker gave it none.
	Stash *Stash

	values *scopeValue
}

// scopeValue is one link of the chain of values set by With. Newer values hide older ones. A scope
// and its copies share the tail of the chain.
type scopeValue struct {
	key   string
	value any
	next  *scopeValue
}

// Clone returns a shallow copy whose fields can be set without the original
// seeing it.
func (s *Scope) Clone() *Scope {
	c := *s
	return &c
}

// With returns a shallow copy that has one more value. Keys follow the specification: names without
// a dot belong to the core, those with the prefix "pagi." to its extensions. Other code uses a
// prefix of its own ("myapp.user").
func (s *Scope) With(key string, value any) *Scope {
	c := *s
	c.SetValue(key, value)
	return &c
}

// SetValue stores a value in s itself, where With returns a copy. Only the code that has made s, by
// Clone or With, may call it, and only before s is passed on.
func (s *Scope) SetValue(key string, value any) {
	s.values = &scopeValue{key, value, s.values}
}

// Value returns what With stored under key, or nil.
func (s *Scope) Value(key string) any {
	for v := s.values; v != nil; v = v.next {
		if v.key == key {
			return v.value
		}
	}
	return nil
}

// HasExtension reports whether the server offers the named extension here.
func (s *Scope) HasExtension(name string) bool {
	_, ok := s.Extensions[name]
	return ok
}

// TLS returns the tls extension's data, or nil when the connection is not
// encrypted.
func (s *Scope) TLS() *TLS {
	t, _ := s.Extensions[ExtTLS].(*TLS)
	return t
}

// Mount returns the scope an application mounted under prefix must see: prefix moved from the front
// of Path to the end of RootPath. Path is then "" if the client left out the slash after prefix, so
// that the application can redirect to the form with the slash. The caller must make sure that Path
// begins with prefix, at a slash.
func (s *Scope) Mount(prefix string) *Scope {
	c := *s
	c.Path = s.Path[len(prefix):]
	c.RootPath = s.RootPath + prefix
	return &c
}

// RequestURI returns the path and query as the client sent them (PSGI's and CGI's REQUEST_URI). If
// Target is not known, RequestURI builds them from the other fields.
func (s *Scope) RequestURI() string {
	if s.Target != "" {
		return s.Target
	}
	path := s.RawPath
	if path == "" {
		path = (&url.URL{Path: s.RootPath + s.Path}).EscapedPath()
	}
	if s.QueryString == "" {
		return path
	}
	return path + "?" + s.QueryString
}

// TLS is the value of the "tls" extension (PAGI::Spec::Tls). Strings that the
// specification allows to be undefined are "" then, numbers 0.
type TLS struct {
	// ServerCert is the certificate the server sent, in PEM.
	ServerCert string
	// ClientCertChain holds the client's certificates in PEM, leaf first.
	ClientCertChain []string
	// ClientCertName is the leaf's subject as an RFC 4514 string.
	ClientCertName string
	// ClientCertError says why verification failed when the connection was kept.
	ClientCertError string
	// Version is the protocol's number: 0x0303 for TLS 1.2, 0x0304 for 1.3.
	Version uint16
	// CipherSuite is the suite's number, 0x1301 for TLS_AES_128_GCM_SHA256.
	CipherSuite uint16
}
