package http1

import (
	"bytes"
	"net/http"
)

// A client that speaks another protocol does not send the empty line that ends a head: it waits for
// an answer. So bytes that cannot become a request are refused as soon as that can be seen, not
// when HeadTimeout is over.

// The first bytes of other protocols.
const (
	tlsHandshake = "\x16\x03"           // a record of TLS (RFC 8446 section 5.1)
	proxyText    = "PROXY "             // a PROXY header, version 1
	proxyBinary  = "\x00\r\nQUIT\n"     // version 2, without the empty lines in front
	prefaceLine  = "PRI * HTTP/2.0\r\n" // the first line of HTTP/2
	prefaceHead  = prefaceLine + "\r\n" // the part that looks like the head of a request
)

// The reasons that name another protocol.
const (
	reasonTLS   = "the client speaks TLS, and this address does not"
	reasonProxy = "the connection begins with a PROXY header, and this address has not the option proxy"
)

// beginning looks at a request's head while it comes. Each byte is looked at once.
type beginning struct {
	seen  int  // so many bytes of the first line have been looked at
	named bool // the method is complete
	lined bool // the first line is complete and right
}

// refusal returns why a head that begins with begun cannot become that of a request. It returns nil
// while it can.
func (b *beginning) refusal(begun []byte) *Refusal {
	switch {
	case b.lined, string(begun) == "\r": // the latter may begin an empty line
		return nil
	case bytes.HasPrefix(begun, []byte(tlsHandshake)):
		return bad(reasonTLS)
	case bytes.HasPrefix(begun, []byte(proxyBinary)):
		return bad(reasonProxy)
	case bytes.HasPrefix([]byte(proxyBinary), begun):
		return nil
	}
	for ; b.seen < len(begun) && begun[b.seen] != '\n'; b.seen++ {
		switch c := begun[b.seen]; {
		case b.named:
		case c == ' ' && b.seen > 0:
			b.named = true
		case classes[c]&classToken == 0:
			return bad("the request line is malformed")
		}
	}
	if b.seen == len(begun) {
		return nil
	}
	b.lined = true
	line, _ := cutLine(string(begun[:b.seen+1]))
	refusal := (&stream{}).parseRequestLine(line)
	if refusal != nil && refusal.Status == http.StatusBadRequest && bytes.HasPrefix(begun, []byte(proxyText)) {
		return bad(reasonProxy)
	}
	return refusal
}
