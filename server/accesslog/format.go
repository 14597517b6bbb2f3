package accesslog

import (
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/accessline"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// Format is a compiled format: literal text and these atoms.
//
//	%h %a  client address, "-" on a Unix socket; behind a trusted proxy that of its client
//	%{c}a  address of the peer, which may be a proxy
//	%l     always "-": the server does not ask identd
//	%u     name of the user whom a middleware has authenticated
//	%t     time the request came, 10/Feb/2026:12:34:56 +0000
//	%r     request line
//	%m     method
//	%U     path as sent
//	%q     query string with its question mark, or nothing
//	%H     protocol, HTTP/1.1
//	%s %>s status; 499 when the client left before it had one
//	%b %B  body bytes sent, of a WebSocket those of all its frames; "-" (%b) or 0 (%B) for none
//	%d     duration in seconds with three decimals
//	%D     duration in microseconds
//	%T     duration in whole seconds; %{ms}T %{us}T %{s}T in the unit that is named
//	%P     number of this process
//	%v %V  the request's Host, "-" without one
//	%A %p  address and port the client has connected to, "-" on a Unix socket
//	%{X}i  request header X, "-" when missing; %{X}o one of the response, %{X}C a cookie
//	%%     a percent sign
//
// Of a request whose first line could not be read %r, %m, %U and %H are "-".
// What comes from the client is escaped: a quote or a backslash by a backslash,
// everything outside printable ASCII as \xhh, so that no request can forge a line.
type Format struct{ line accessline.Format }

// ParseFormat compiles a format string or one of the names common (the default for ""), clf (the
// reference server's own), combined, tiny and json (an object per line).
func ParseFormat(format string) (Format, error) {
	line, err := accessline.ParseFormat(format)
	return Format{line}, err
}

// Append appends the line for rec, with a newline.
func (f Format) Append(line []byte, rec *engine.Record) []byte {
	return f.line.Append(line, facts{rec})
}

// facts is a record as package accessline sees it.
type facts struct{ rec *engine.Record }

func (f facts) Client() string                    { return f.rec.Client() }
func (f facts) User() string                      { return f.rec.User() }
func (f facts) Method() string                    { return f.rec.Request.Method }
func (f facts) Target() string                    { return f.rec.Request.RequestURI }
func (f facts) Header(name string) string         { return f.rec.Header(name) }
func (f facts) ResponseHeader(name string) string { return f.rec.ResponseHeader(name) }
func (f facts) Status() int                       { return f.rec.Status }
func (f facts) Bytes() int64                      { return f.rec.Bytes }
func (f facts) Begin() time.Time                  { return f.rec.Begin }
func (f facts) Duration() time.Duration           { return f.rec.Duration }
func (f facts) Reason() string                    { return f.rec.Reason }

// Peer returns the host of the connection's other end; "" for a Unix socket.
func (f facts) Peer() string {
	remote := f.rec.Request.RemoteAddr
	i := strings.LastIndexByte(remote, ':')
	if i <= 0 {
		return ""
	}
	return strings.Trim(remote[:i], "[]")
}

// Local returns the address and the port that the client has connected to; "" for a Unix socket.
func (f facts) Local() (host, port string) {
	local, ok := f.rec.Request.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok || local.Network() == "unix" {
		return "", ""
	}
	host, port, _ = net.SplitHostPort(local.String()) // an address of another form is not known
	return host, port
}

func (f facts) Protocol() string {
	switch f.rec.Request.ProtoMajor {
	case 2:
		return "HTTP/2"
	case 3:
		return "HTTP/3"
	}
	return f.rec.Request.Proto
}

func (f facts) CloseCode() int {
	if f.rec.Close == nil {
		return 0
	}
	return f.rec.Close.Code
}

func (f facts) CloseReason() string {
	if f.rec.Close == nil {
		return ""
	}
	return f.rec.Close.Reason
}

func (f facts) TraceID() string {
	if t := f.rec.Trace(); t != nil {
		return t.TraceID()
	}
	return ""
}
