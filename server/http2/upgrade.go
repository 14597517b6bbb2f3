package http2

import (
	"encoding/base64"
	"errors"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Upgrade is a request that asks for HTTP/2 by an Upgrade header (RFC 7540 section 3.2). RFC 9113
// no longer has this, but clients still use it.
type Upgrade struct {
	settings []byte
	fields   pagi.Headers
}

// errUpgrade is the error for a request whose upgrade is malformed.
var errUpgrade = errors.New("http2: HTTP2-Settings is not what an upgrade needs")

// NewUpgrade reads an upgrade from a request without a body. headers must be in the form that a
// scope has. ok is false where the request does not ask for an upgrade.
func NewUpgrade(method, target, scheme string, headers pagi.Headers) (u *Upgrade, ok bool, err error) {
	if !headers.HasToken("upgrade", "h2c") || !headers.HasToken("connection", "upgrade") || !headers.HasToken("connection", "http2-settings") {
		return nil, false, nil
	}
	var given []string
	for value := range headers.Values("http2-settings") {
		given = append(given, value)
	}
	if len(given) != 1 {
		return nil, true, errUpgrade
	}
	settings, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(given[0], "="))
	if err != nil || len(settings)%settingLength != 0 || len(settings) > maxSettings*settingLength {
		return nil, true, errUpgrade
	}
	u = &Upgrade{settings: settings}
	u.fields = pagi.NewHeaders(":method", method, ":scheme", scheme, ":path", target)
	if host := headers.Get("host"); host != "" {
		u.fields.Add(":authority", host)
	}
	for _, h := range headers {
		switch h.Name {
		case "host", "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade", "http2-settings", "te", "content-length":
		default:
			if !headers.HasToken("connection", h.Name) {
				u.fields = append(u.fields, h)
			}
		}
	}
	return u, true, nil
}

// Upgrade makes u the first request of the connection. It must be called before the first Read.
func (c *Conn) Upgrade(u *Upgrade) {
	c.last.Store(1)
	c.first = u.settings
	var block []byte
	for _, f := range u.fields {
		block = appendLiteral(block, f)
	}
	kind, flags := byte(frameHeaders), byte(flagEndStream)
	for {
		n := min(len(block), MaxFrame)
		if n == len(block) {
			flags |= flagEndHeaders
		}
		c.inject = appendFrame(c.inject, kind, flags, 1, block[:n]...)
		if block = block[n:]; len(block) == 0 {
			return
		}
		kind, flags = frameContinuation, 0
	}
}

// appendLiteral appends a field, coded so that it enters no table (RFC 7541 section 6.2.3). So the
// table stays the one that the client assumes.
func appendLiteral(to []byte, f pagi.Header) []byte {
	return appendString(appendString(append(to, 0x10), f.Name), f.Value)
}

// appendString appends a string literal (RFC 7541 sections 5.1, 5.2).
func appendString(to []byte, s string) []byte {
	const most = 1<<7 - 1
	n := len(s)
	if n < most {
		return append(append(to, byte(n)), s...)
	}
	to = append(to, most)
	for n -= most; n >= 1<<7; n >>= 7 {
		to = append(to, byte(n)|1<<7)
	}
	return append(append(to, byte(n)), s...)
}
