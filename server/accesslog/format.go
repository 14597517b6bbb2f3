package accesslog

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// namedFormats are the formats that have a name.
var namedFormats = map[string]string{
	"":         `%h %l %u [%t] "%r" %s %b`,
	"common":   `%h %l %u [%t] "%r" %s %b`,
	"clf":      `%h - - [%t] "%m %U%q" %s %ds`,
	"combined": `%h %l %u [%t] "%r" %s %b "%{Referer}i" "%{User-Agent}i"`,
	"tiny":     `%m %U%q %s %Dus`,
}

// formatNames are the names that Options.Format takes.
var formatNames = []string{"common", "clf", "combined", "json", "tiny"}

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
type Format struct{ atoms []atom }

// atom appends one part of a line.
type atom func(line []byte, rec *engine.Record) []byte

// ParseFormat compiles a format string or one of the names common (the default
// for ""), clf (the reference server's own), combined, tiny and json (an object per
// line).
func ParseFormat(format string) (Format, error) {
	if format == "json" {
		return Format{atoms: []atom{appendJSON}}, nil
	}
	if named, ok := namedFormats[format]; ok {
		format = named
	}
	if !strings.Contains(format, "%") {
		return Format{}, fmt.Errorf("access log format %q is none of %s, and has no %% in it", format, strings.Join(formatNames, ", "))
	}
	var f Format
	for rest := format; rest != ""; {
		text, after, found := strings.Cut(rest, "%")
		if text != "" {
			f.atoms = append(f.atoms, literal(text))
		}
		if !found {
			break
		}
		a, n, err := parseAtom(after)
		if err != nil {
			return Format{}, fmt.Errorf("access log format %q: %w", format, err)
		}
		f.atoms = append(f.atoms, a)
		rest = after[n:]
	}
	return f, nil
}

// Append appends the line for rec, with a newline.
func (f Format) Append(line []byte, rec *engine.Record) []byte {
	for _, a := range f.atoms {
		line = a(line, rec)
	}
	return append(line, '\n')
}

// parseAtom reads the atom behind a percent sign. n is the atom's length in bytes.
func parseAtom(s string) (a atom, n int, err error) {
	if s == "" {
		return nil, 0, fmt.Errorf("ends with a lone %%")
	}
	if s[0] == '{' {
		name, after, closed := strings.Cut(s[1:], "}")
		if !closed {
			return nil, 0, fmt.Errorf("%%{%s has no closing brace", name)
		}
		a, err := parseNamed(name, after)
		return a, len("{}i") + len(name), err
	}
	if strings.HasPrefix(s, ">s") {
		return atoms['s'], 2, nil
	}
	if a, ok := atoms[s[0]]; ok {
		return a, 1, nil
	}
	return nil, 0, fmt.Errorf("%%%c is not known", s[0])
}

// parseNamed returns the atom %{name}x, where after begins with the letter x.
func parseNamed(name, after string) (atom, error) {
	kind := byte(0)
	if after != "" {
		kind = after[0]
	}
	switch kind {
	case 'i':
		return requestHeader(name), nil
	case 'o':
		name = strings.ToLower(name)
		return func(line []byte, rec *engine.Record) []byte { return appendKnown(line, rec.ResponseHeader(name)) }, nil
	case 'C':
		return cookie(name), nil
	case 'a':
		if name == "c" {
			return func(line []byte, rec *engine.Record) []byte { return appendHost(line, rec.Request.RemoteAddr) }, nil
		}
		return nil, fmt.Errorf("%%{%s}a: only %%{c}a is known", name)
	case 'T':
		if unit, ok := units[name]; ok {
			return func(line []byte, rec *engine.Record) []byte {
				return strconv.AppendInt(line, int64(rec.Duration/unit), 10)
			}, nil
		}
		return nil, fmt.Errorf("%%{%s}T: the unit must be ms, us or s", name)
	}
	return nil, fmt.Errorf("%%{%s} must be followed by i, o, C, T or a", name)
}

var units = map[string]time.Duration{"ms": time.Millisecond, "us": time.Microsecond, "s": time.Second}

var atoms = map[byte]atom{
	'%': literal("%"),
	'h': func(line []byte, rec *engine.Record) []byte { return appendKnown(line, rec.Client()) },
	'a': func(line []byte, rec *engine.Record) []byte { return appendKnown(line, rec.Client()) },
	'P': func(line []byte, _ *engine.Record) []byte { return strconv.AppendInt(line, int64(os.Getpid()), 10) },
	'v': requestHeader("host"),
	'V': requestHeader("host"),
	'A': func(line []byte, rec *engine.Record) []byte {
		host, _ := localOf(rec)
		return appendKnown(line, host)
	},
	'p': func(line []byte, rec *engine.Record) []byte {
		_, port := localOf(rec)
		return appendKnown(line, port)
	},
	'l': literal("-"),
	'u': func(line []byte, rec *engine.Record) []byte { return appendKnown(line, rec.User()) },
	't': func(line []byte, rec *engine.Record) []byte {
		return rec.Begin.AppendFormat(line, "02/Jan/2006:15:04:05 -0700")
	},
	'r': func(line []byte, rec *engine.Record) []byte {
		if rec.Request.Method == "" {
			return append(line, '-')
		}
		line = appendEscaped(line, rec.Request.Method)
		line = append(line, ' ')
		line = appendEscaped(line, rec.Request.RequestURI)
		line = append(line, ' ')
		return appendProtocol(line, rec)
	},
	'm': func(line []byte, rec *engine.Record) []byte { return appendKnown(line, rec.Request.Method) },
	'U': func(line []byte, rec *engine.Record) []byte {
		path, _, _ := strings.Cut(rec.Request.RequestURI, "?")
		return appendKnown(line, path)
	},
	'q': func(line []byte, rec *engine.Record) []byte {
		if _, query, found := strings.Cut(rec.Request.RequestURI, "?"); found {
			line = appendEscaped(append(line, '?'), query)
		}
		return line
	},
	'H': appendProtocol,
	's': func(line []byte, rec *engine.Record) []byte {
		return strconv.AppendInt(line, int64(statusOf(rec)), 10)
	},
	'b': func(line []byte, rec *engine.Record) []byte {
		if rec.Bytes == 0 {
			return append(line, '-')
		}
		return strconv.AppendInt(line, rec.Bytes, 10)
	},
	'B': func(line []byte, rec *engine.Record) []byte { return strconv.AppendInt(line, rec.Bytes, 10) },
	'd': func(line []byte, rec *engine.Record) []byte {
		return strconv.AppendFloat(line, rec.Duration.Seconds(), 'f', 3, 64)
	},
	'D': func(line []byte, rec *engine.Record) []byte {
		return strconv.AppendInt(line, rec.Duration.Microseconds(), 10)
	},
	'T': func(line []byte, rec *engine.Record) []byte {
		return strconv.AppendInt(line, int64(rec.Duration/time.Second), 10)
	},
}

func literal(text string) atom {
	return func(line []byte, _ *engine.Record) []byte { return append(line, text...) }
}

func requestHeader(name string) atom {
	return func(line []byte, rec *engine.Record) []byte {
		value := rec.Header(name)
		if value == "" {
			return append(line, '-')
		}
		return appendEscaped(line, value)
	}
}

// cookie returns the atom that writes the value of a request's cookie as it was sent.
func cookie(name string) atom {
	return func(line []byte, rec *engine.Record) []byte {
		for pair := range strings.SplitSeq(rec.Header("cookie"), ";") {
			if key, value, _ := strings.Cut(strings.TrimSpace(pair), "="); key == name {
				return appendKnown(line, value)
			}
		}
		return append(line, '-')
	}
}

// localOf returns the address and the port that the client has connected to; "" for a Unix socket.
func localOf(rec *engine.Record) (host, port string) {
	local, ok := rec.Request.Context().Value(http.LocalAddrContextKey).(net.Addr)
	if !ok || local.Network() == "unix" {
		return "", ""
	}
	host, port, _ = net.SplitHostPort(local.String()) // an address of another form is written as "-"
	return host, port
}

func appendHost(line []byte, remote string) []byte {
	return appendKnown(line, hostOf(remote))
}

func appendProtocol(line []byte, rec *engine.Record) []byte {
	if rec.Request.ProtoMajor >= 2 {
		return strconv.AppendInt(append(line, "HTTP/"...), int64(rec.Request.ProtoMajor), 10)
	}
	return appendKnown(line, rec.Request.Proto)
}

// appendKnown appends s, escaped, or "-" where s is empty.
func appendKnown(line []byte, s string) []byte {
	if s == "" {
		return append(line, '-')
	}
	return appendEscaped(line, s)
}

// appendEscaped appends s so that it can end neither a quoted field nor the line.
func appendEscaped(line []byte, s string) []byte {
	const hex = "0123456789abcdef"
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			line = append(line, '\\', c)
		case c < ' ' || c > '~':
			line = append(line, '\\', 'x', hex[c>>4], hex[c&15])
		default:
			line = append(line, c)
		}
	}
	return line
}
