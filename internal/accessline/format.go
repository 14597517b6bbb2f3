// Package accessline makes the lines of access logs, of a request that the server has served or that a
// middleware has seen.
package accessline

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// namedFormats are the formats that have a name.
var namedFormats = map[string]string{
	"":         `%h %l %u [%t] "%r" %s %b`,
	"common":   `%h %l %u [%t] "%r" %s %b`,
	"clf":      `%h - - [%t] "%m %U%q" %s %ds`,
	"combined": `%h %l %u [%t] "%r" %s %b "%{Referer}i" "%{User-Agent}i"`,
	"tiny":     `%m %U%q %s %Dus`,
}

// formatNames are the names that ParseFormat takes.
var formatNames = []string{"common", "clf", "combined", "json", "tiny"}

// Facts is what a line may tell about a request. Text that is not known is "".
type Facts interface {
	// Client is the host of the client, Peer that of the connection's other end, User the name of the
	// user.
	Client() string
	Peer() string
	User() string
	// Local is the address and the port that the client has connected to.
	Local() (host, port string)
	// Method, Target and Protocol are the parts of the request line: the protocol is "HTTP/1.1", for
	// example.
	Method() string
	Target() string
	Protocol() string
	// Header and ResponseHeader return the value of the first header of a name.
	Header(name string) string
	ResponseHeader(name string) string
	// Status is the response's; 0 if there was none. Bytes are those of the body that were sent.
	Status() int
	Bytes() int64
	// Begin is when the request came, Duration how long it took.
	Begin() time.Time
	Duration() time.Duration
	// Reason is why it ended early. CloseCode and CloseReason are those of a WebSocket or an event
	// stream.
	Reason() string
	CloseCode() int
	CloseReason() string
	// TraceID is the id of the trace that the request is recorded in; "" if it is not.
	TraceID() string
}

// Format is a compiled format. The atoms are described at Format of package server/accesslog.
type Format struct{ atoms []atom }

// atom appends one part of a line.
type atom func(line []byte, rec Facts) []byte

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
func (f Format) Append(line []byte, rec Facts) []byte {
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
		return func(line []byte, rec Facts) []byte { return appendKnown(line, rec.ResponseHeader(name)) }, nil
	case 'C':
		return cookie(name), nil
	case 'a':
		if name == "c" {
			return func(line []byte, rec Facts) []byte { return appendKnown(line, rec.Peer()) }, nil
		}
		return nil, fmt.Errorf("%%{%s}a: only %%{c}a is known", name)
	case 'T':
		if unit, ok := units[name]; ok {
			return func(line []byte, rec Facts) []byte {
				return strconv.AppendInt(line, int64(rec.Duration()/unit), 10)
			}, nil
		}
		return nil, fmt.Errorf("%%{%s}T: the unit must be ms, us or s", name)
	}
	return nil, fmt.Errorf("%%{%s} must be followed by i, o, C, T or a", name)
}

var units = map[string]time.Duration{"ms": time.Millisecond, "us": time.Microsecond, "s": time.Second}

var atoms = map[byte]atom{
	'%': literal("%"),
	'h': func(line []byte, rec Facts) []byte { return appendKnown(line, rec.Client()) },
	'a': func(line []byte, rec Facts) []byte { return appendKnown(line, rec.Client()) },
	'P': func(line []byte, _ Facts) []byte { return strconv.AppendInt(line, int64(os.Getpid()), 10) },
	'v': requestHeader("host"),
	'V': requestHeader("host"),
	'A': func(line []byte, rec Facts) []byte {
		host, _ := rec.Local()
		return appendKnown(line, host)
	},
	'p': func(line []byte, rec Facts) []byte {
		_, port := rec.Local()
		return appendKnown(line, port)
	},
	'l': literal("-"),
	'u': func(line []byte, rec Facts) []byte { return appendKnown(line, rec.User()) },
	't': func(line []byte, rec Facts) []byte {
		return rec.Begin().AppendFormat(line, "02/Jan/2006:15:04:05 -0700")
	},
	'r': func(line []byte, rec Facts) []byte {
		if rec.Method() == "" {
			return append(line, '-')
		}
		line = appendEscaped(line, rec.Method())
		line = append(line, ' ')
		line = appendEscaped(line, rec.Target())
		line = append(line, ' ')
		return appendProtocol(line, rec)
	},
	'm': func(line []byte, rec Facts) []byte { return appendKnown(line, rec.Method()) },
	'U': func(line []byte, rec Facts) []byte {
		path, _, _ := strings.Cut(rec.Target(), "?")
		return appendKnown(line, path)
	},
	'q': func(line []byte, rec Facts) []byte {
		if _, query, found := strings.Cut(rec.Target(), "?"); found {
			line = appendEscaped(append(line, '?'), query)
		}
		return line
	},
	'H': appendProtocol,
	's': func(line []byte, rec Facts) []byte {
		return strconv.AppendInt(line, int64(statusOf(rec)), 10)
	},
	'b': func(line []byte, rec Facts) []byte {
		if rec.Bytes() == 0 {
			return append(line, '-')
		}
		return strconv.AppendInt(line, rec.Bytes(), 10)
	},
	'B': func(line []byte, rec Facts) []byte { return strconv.AppendInt(line, rec.Bytes(), 10) },
	'd': func(line []byte, rec Facts) []byte {
		return strconv.AppendFloat(line, rec.Duration().Seconds(), 'f', 3, 64)
	},
	'D': func(line []byte, rec Facts) []byte {
		return strconv.AppendInt(line, rec.Duration().Microseconds(), 10)
	},
	'T': func(line []byte, rec Facts) []byte {
		return strconv.AppendInt(line, int64(rec.Duration()/time.Second), 10)
	},
}

func literal(text string) atom {
	return func(line []byte, _ Facts) []byte { return append(line, text...) }
}

func requestHeader(name string) atom {
	return func(line []byte, rec Facts) []byte {
		value := rec.Header(name)
		if value == "" {
			return append(line, '-')
		}
		return appendEscaped(line, value)
	}
}

// cookie returns the atom that writes the value of a request's cookie as it was sent.
func cookie(name string) atom {
	return func(line []byte, rec Facts) []byte {
		for pair := range strings.SplitSeq(rec.Header("cookie"), ";") {
			if key, value, _ := strings.Cut(strings.TrimSpace(pair), "="); key == name {
				return appendKnown(line, value)
			}
		}
		return append(line, '-')
	}
}

func appendProtocol(line []byte, rec Facts) []byte { return appendKnown(line, rec.Protocol()) }

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
