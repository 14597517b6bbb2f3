package http2

import (
	"strconv"

	"golang.org/x/net/http2/hpack"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/server/http1"
)

// message is what a header block says, as far as the server takes for a request what must
// not be one.
type message struct {
	ended                                 bool // nothing follows it
	bad                                   bool // there is a field in it that must not be
	method, path, authority, host, length string
	hosts, lengths                        int
}

// add notes a field. Those of a connection of HTTP/1 must not be (RFC 9113 section 8.2.2).
func (m *message) add(f hpack.HeaderField) {
	switch f.Name {
	case ":method":
		m.method = f.Value
		m.bad = m.bad || !http1.IsMethod(f.Value)
	case ":path":
		m.path = f.Value
	case ":authority":
		m.authority = f.Value
	case "host":
		m.host = f.Value
		m.hosts++
	case "content-length":
		m.length = f.Value
		m.lengths++
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		m.bad = true
	case "te":
		m.bad = m.bad || f.Value != "trailers"
	}
}

// isMalformed reports whether the message must not be (RFC 9113 section 8.1.1). What is
// missing the server notices, and what must not be in a trailer section.
func (m *message) isMalformed() bool {
	switch {
	case m.bad, m.hosts > 1, m.lengths > 1:
		return true
	case m.path != "" && !http1.IsTarget(m.method, m.path): // CONNECT has none, section 8.5
		return true
	case m.authority != "" && !http1.IsAuthority(m.authority), m.host != "" && !http1.IsAuthority(m.host):
		return true
	case m.authority != "" && m.hosts > 0 && !pagi.EqualFold(m.host, m.authority): // section 8.3.1
		return true
	case m.lengths == 0:
		return false
	}
	n, err := strconv.ParseUint(m.length, 10, 63)
	return err != nil || m.ended && n > 0
}
