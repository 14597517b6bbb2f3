package middleware

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

// maxRequestID is the longest incoming id that is trusted, in bytes.
const maxRequestID = 128

// RequestID gives every request an id: in the scope, for logs, and in the
// response's header. The application below sees the same id in the request's
// header, so that a bridge passes it on.
type RequestID struct {
	// Header is the header's name; "" means X-Request-ID.
	Header string `yaml:"header"`
	// TrustIncoming keeps the id that a request brings, if it has 1 to 128 visible ASCII
	// characters. Set it only behind a proxy that you trust.
	TrustIncoming bool `yaml:"trust_incoming"`
	// Generator makes an id; nil means a UUID of version 7 (RFC 9562).
	Generator func(scope *pagi.Scope) string `yaml:"-"`
}

func init() { parts.Middleware[RequestID]("request_id") }

// Check reports a Header that is not a header name.
func (m RequestID) Check() error { return checkName("header", or(m.Header, "x-request-id")) }

// Wrap puts m around next.
func (m RequestID) Wrap(next pagi.App) pagi.App {
	header := or(m.Header, "x-request-id")
	on := onward(next)
	set := func(b beginning, id string) beginning {
		b.own()
		b.headers.Set(header, id)
		return b
	}
	return wrapPassage(m, next, func(ctx context.Context, p passage) error {
		id := ""
		if m.TrustIncoming {
			id = plausibleID(p.scope.Headers.Get(header))
		}
		switch {
		case id != "":
		case m.Generator != nil:
			id = m.Generator(p.keep())
		default:
			id = uuid7(time.Now())
		}
		value := any(id) // once, because a text becomes one by an allocation
		p.scope.Notes.Add(pagi.NewLogNote("request_id", value))
		p.change().SetValue(scopekey.RequestID, value)
		p.changeHeaders().Set(header, id)
		p.edit(edit{set, id}, 1)
		return on(ctx, p)
	})
}

func plausibleID(id string) string {
	if len(id) > maxRequestID {
		return ""
	}
	for i := range len(id) {
		if id[i] <= ' ' || id[i] >= 0x7f {
			return ""
		}
	}
	return id
}

// uuid7 returns a UUID of version 7: 48 bits of Unix milliseconds, then random, so
// that ids sort by time.
func uuid7(now time.Time) string {
	var b [16]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	ms := uint64(now.UnixMilli())
	for i := range 6 {
		b[i] = byte(ms >> (40 - 8*i))
	}
	b[6] = b[6]&0x0f | 0x70
	b[8] = b[8]&0x3f | 0x80
	var s [36]byte
	hex.Encode(s[0:8], b[0:4])
	hex.Encode(s[9:13], b[4:6])
	hex.Encode(s[14:18], b[6:8])
	hex.Encode(s[19:23], b[8:10])
	hex.Encode(s[24:36], b[10:16])
	s[8], s[13], s[18], s[23] = '-', '-', '-', '-'
	return string(s[:])
}
