package http1

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/headername"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// parse makes a request from a head. The strings of the request share one copy of the head.
func (c *conn) parse(head []byte) (*stream, *Refusal) {
	x := &stream{c: c, req: *c.blank, status: 0, left: -1}
	x.req.RemoteAddr, x.req.TLS = c.client, c.tls
	x.req.Body, x.req.URL = &x.body, &x.url
	x.headers = x.room[:0]
	line, rest := cutLine(string(head))
	if refusal := x.parseRequestLine(line); refusal != nil {
		return nil, refusal
	}
	var seen fields
	for {
		line, rest = cutLine(rest)
		if line == "" {
			break
		}
		if refusal := x.parseHeader(line, &seen); refusal != nil {
			return nil, refusal
		}
	}
	return x, x.settle(&seen)
}

// cutLine cuts off the first line, without its end.
func cutLine(s string) (line, rest string) {
	i := strings.IndexByte(s, '\n')
	line, rest = s[:i], s[i+1:]
	if i > 0 && line[i-1] == '\r' {
		line = line[:i-1]
	}
	return line, rest
}

// parseRequestLine reads "METHOD target HTTP/1.1" (RFC 9112 section 3).
func (x *stream) parseRequestLine(line string) *Refusal {
	method, rest, ok1 := strings.Cut(line, " ")
	target, version, ok2 := strings.Cut(rest, " ")
	if !ok1 || !ok2 || !isToken(method) {
		return bad("the request line is malformed")
	}
	r := &x.req
	switch {
	case version == "HTTP/1.1":
		r.ProtoMajor, r.ProtoMinor = 1, 1
	case version == "HTTP/1.0":
		r.ProtoMajor, r.ProtoMinor = 1, 0
	case len(version) == 8 && strings.HasPrefix(version, "HTTP/") && isDigit(version[5]) && version[6] == '.' && isDigit(version[7]):
		if version[5] != '1' {
			return &Refusal{Status: http.StatusHTTPVersionNotSupported, Reason: "the version is " + version}
		}
		r.ProtoMajor, r.ProtoMinor = 1, int(version[7]-'0') // RFC 9110 section 2.5: as the highest we know
	default:
		return bad("the version is malformed")
	}
	r.Method, r.RequestURI, r.Proto = method, target, version
	return x.parseTarget(target)
}

// fields remembers the headers that frame a message or steer a connection.
type fields struct {
	host, hosts       int // its index in headers; how many there are
	length, encoding  string
	lengths, codings  int
	close, keep, more bool // Connection: close, keep-alive; Expect: 100-continue
	expect            bool
	cookie            int      // its index in headers
	cookies           []string // all but the first
}

// parseHeader reads "Name: value" (RFC 9112 section 5).
func (x *stream) parseHeader(line string, seen *fields) *Refusal {
	if line[0] == ' ' || line[0] == '\t' {
		return ambiguous("a header line is folded") // section 5.2
	}
	i := strings.IndexByte(line, ':')
	if i < 0 || !isToken(line[:i]) { // also a space before the colon, section 5.1
		return bad("a header's name is malformed")
	}
	value := trim(line[i+1:])
	if !isValue(value) {
		return bad("a header's value has a control character in it")
	}
	name := headername.Lower(line[:i])
	switch name {
	case "host":
		seen.host = len(x.headers)
		seen.hosts++
	case "content-length":
		seen.length = value
		seen.lengths++
	case "transfer-encoding":
		if seen.codings > 0 {
			value = seen.encoding + "," + value
		}
		seen.encoding = value
		seen.codings++
		return nil // the handler gets the body without this coding
	case "connection":
		one := pagi.Headers{{Name: name, Value: value}}
		seen.close = seen.close || one.HasToken(name, "close")
		seen.keep = seen.keep || one.HasToken(name, "keep-alive")
	case "expect":
		seen.expect = true
		seen.more = pagi.EqualFold(value, "100-continue")
	case "cookie":
		if seen.cookie < len(x.headers) && x.headers[seen.cookie].Name == name {
			seen.cookies = append(seen.cookies, value)
			return nil
		}
		seen.cookie = len(x.headers)
	}
	x.headers = append(x.headers, pagi.Header{Name: name, Value: value})
	return nil
}

// settle completes the request once all headers have been read.
func (x *stream) settle(seen *fields) *Refusal {
	r := &x.req
	old := r.ProtoMinor == 0
	if len(seen.cookies) > 0 { // applications expect one line, RFC 9113 section 8.2.3
		first := &x.headers[seen.cookie].Value
		*first = strings.Join(append([]string{*first}, seen.cookies...), "; ")
	}
	switch {
	case seen.hosts > 1:
		return ambiguous("there are several Host headers") // RFC 9112 section 3.2
	case seen.hosts == 0 && !old:
		return bad("there is no Host header")
	case seen.hosts == 1:
		r.Host = x.headers[seen.host].Value
		if r.Host != "" && !isAuthority(r.Host) {
			return bad("the Host header is malformed")
		}
	}
	if r.URL.Scheme == "https" && x.c.tls == nil && (x.c.server.Secured == nil || !x.c.server.Secured(x.c.net)) {
		return &Refusal{Status: http.StatusMisdirectedRequest, Reason: "the request target is of https, and the connection has no TLS"}
	}
	if r.URL.Host != "" {
		r.Host = r.URL.Host // RFC 9112 section 3.2.2
		if seen.hosts == 1 {
			x.headers[seen.host].Value = r.Host
		} else {
			x.headers = append(x.headers, pagi.Header{Name: "host", Value: r.Host})
		}
	}
	if refusal := x.settleBody(seen); refusal != nil {
		return refusal
	}
	if seen.expect && !old {
		if !seen.more {
			return &Refusal{Status: http.StatusExpectationFailed, Reason: "it expects something unknown"}
		}
		x.body.expected = r.ContentLength != 0
	}
	x.asked = seen.close || old && !seen.keep
	x.last = x.asked
	x.keep = old && !x.last
	return nil
}

// settleBody decides how long the body is (RFC 9112 section 6.3). It refuses a request that could
// be read in two ways (section 11.2).
func (x *stream) settleBody(seen *fields) *Refusal {
	x.body.c = x.c
	switch {
	case seen.codings > 0 && seen.lengths > 0:
		return ambiguous("transfer-encoding with content-length")
	case seen.codings > 0 && x.req.ProtoMinor == 0:
		return ambiguous("transfer-encoding in HTTP/1.0")
	case seen.codings > 0 && !pagi.EqualFold(seen.encoding, "chunked"):
		return refuseCodings(seen.encoding)
	case seen.codings > 0:
		x.req.ContentLength = -1
		x.req.TransferEncoding = chunkedOnly
		x.body.state = chunkLine
		x.body.unread.Store(true)
		return nil
	case seen.lengths > 1:
		return ambiguous("there are several content-lengths")
	case seen.lengths == 1:
		n, err := strconv.ParseUint(seen.length, 10, 63)
		if err != nil || !isDigit(seen.length[0]) { // ParseUint refuses signs, but not by contract
			return bad("the content-length is no number")
		}
		x.req.ContentLength = int64(n)
	}
	if x.req.ContentLength > 0 {
		x.body.state, x.body.left = known, x.req.ContentLength
		x.body.unread.Store(true)
		x.body.long.Store(x.body.left > drainLimit)
	}
	return nil
}

// refuseCodings refuses transfer codings other than chunked alone. Where chunked is not the last
// one, the end of the body cannot be told, and RFC 9112 section 6.3 requires 400. A coding that is
// merely unknown here is answered 501, which says more (section 6.1).
func refuseCodings(list string) *Refusal {
	codings := strings.Split(list, ",")
	last, named := trim(codings[len(codings)-1]), false
	for _, coding := range codings {
		named = named || pagi.EqualFold(trim(coding), "chunked")
	}
	if last == "" || pagi.EqualFold(last, "identity") || named && !pagi.EqualFold(last, "chunked") {
		return ambiguous("chunked is not the last transfer-encoding")
	}
	return &Refusal{Status: http.StatusNotImplemented, Reason: "the transfer-encoding is unknown"}
}

var chunkedOnly = []string{"chunked"}

// trim removes the white space around a value (RFC 9110 section 5.5).
func trim(s string) string {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for len(s) > 0 && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// Classes of characters.
const (
	classToken = 1 << iota // RFC 9110 section 5.6.2
	classValue             // section 5.5: visible, space, tab, and bytes from 0x80
	classHost              // RFC 3986 section 3.2.2, what a name or an IPv4 address has
	classPath              // what a path may hold and stands for itself, section 3.3
	classQuery             // section 3.4
	classDigit
)

var classes = func() (t [256]uint8) {
	mark := func(class uint8, chars string) {
		for i := range len(chars) {
			t[chars[i]] |= class
		}
	}
	letters := "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	mark(classToken|classHost|classPath|classQuery, letters)
	mark(classToken, "!#$%&'*+-.^_`|~")
	mark(classHost, "!$&'()*+,-.;=_~")
	mark(classDigit, "0123456789")
	mark(classPath, "-._~!$&'()*+,;=:@/")
	mark(classQuery, "-._~!$&'()*+,;=:@/?%[]{}|^`\"<>\\") // what browsers send unescaped, too
	for c := range 256 {
		if c >= 0x20 && c != 0x7f || c == '\t' {
			t[c] |= classValue
		}
	}
	return t
}()

func all(s string, class uint8) bool {
	for i := range len(s) {
		if classes[s[i]]&class == 0 {
			return false
		}
	}
	return true
}

func isToken(s string) bool { return s != "" && all(s, classToken) }
func isValue(s string) bool { return all(s, classValue) }
func isDigit(c byte) bool   { return classes[c]&classDigit != 0 }
