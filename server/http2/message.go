package http2

import (
	"strconv"

	"golang.org/x/net/http2/hpack"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/server/http1"
)

// message is the content of a header block, as far as it is needed to find malformed requests that
// the server overlooks.
type message struct {
	ended                                 bool   // the message ends with this block
	bad                                   string // why there is a field in it that must not be; "": there is none
	method, path, authority, host, length string
	scheme                                string
	hosts, lengths                        int
}

// add notes a field. Fields of an HTTP/1 connection are forbidden (RFC 9113 section 8.2.2). No
// value may begin or end with white space (section 8.2.1).
func (m *message) add(f hpack.HeaderField) {
	if v := f.Value; v != "" && (isBlank(v[0]) || isBlank(v[len(v)-1])) {
		m.bad = "the value of a field begins or ends with white space"
	}
	switch f.Name {
	case ":method":
		m.method = f.Value
		if !http1.IsMethod(f.Value) {
			m.bad = "the method is malformed"
		}
	case ":path":
		m.path = f.Value
	case ":scheme":
		m.scheme = f.Value
	case ":authority":
		m.authority = f.Value
	case "host":
		m.host = f.Value
		m.hosts++
	case "content-length":
		m.length = f.Value
		m.lengths++
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		m.bad = "there is a field of HTTP/1 connections"
	case "te":
		if f.Value != "trailers" {
			m.bad = "te is not trailers"
		}
	}
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// isMalformed returns why the message is malformed (RFC 9113 section 8.1.1), or "". The server
// itself notices missing fields, and forbidden fields in a trailer section. Without secure a
// request must not have the scheme https (RFC 9110 section 7.4).
func (m *message) isMalformed(secure bool) string {
	switch {
	case m.bad != "":
		return m.bad
	case m.hosts > 1:
		return "there are several host fields"
	case m.lengths > 1:
		return "there are several content-lengths"
	case m.path != "" && !http1.IsTarget(m.method, m.path): // CONNECT has none, section 8.5
		return "the path is malformed"
	case m.authority != "" && !http1.IsAuthority(m.authority), m.host != "" && !http1.IsAuthority(m.host):
		return "the authority is malformed"
	case m.authority != "" && m.hosts > 0 && !pagi.EqualFold(m.host, m.authority): // section 8.3.1
		return "host is not the authority"
	case m.scheme == "https" && !secure:
		return "the scheme is https on a connection without TLS"
	case m.lengths == 0:
		return ""
	}
	if n, err := strconv.ParseUint(m.length, 10, 63); err != nil || m.ended && n > 0 {
		return "the content-length is malformed, or not that of the body"
	}
	return ""
}
