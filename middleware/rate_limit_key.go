package middleware

import (
	"crypto/sha256"
	"net/netip"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// maxRateKey is how many bytes a key may have. Of a longer one a hash is kept, so that clients cannot
// fill the memory with long keys.
const maxRateKey = 64

// keyPart is an element of RateLimit.Key.
type keyPart struct {
	kind   string
	header string
}

// keyParts reads Key.
func (m RateLimit) keyParts() ([]keyPart, error) {
	if len(m.Key) == 0 {
		return []keyPart{{kind: "address"}}, nil
	}
	parts := make([]keyPart, len(m.Key))
	for i, text := range m.Key {
		kind, header, _ := strings.Cut(text, " ")
		header = strings.TrimSpace(header)
		switch {
		case kind == "header" && checkName("key", header) == nil:
		case text == "address" || text == "user" || text == "path":
		default:
			return nil, pagi.BadOption("key", `%q is not address, user, path, or a header as in "header X-Api-Key"`, text)
		}
		parts[i] = keyPart{kind, strings.ToLower(header)}
	}
	return parts, nil
}

// appendKey appends the key of a request to b.
func (l *rateLimit) appendKey(b []byte, scope *pagi.Scope) []byte {
	for i, part := range l.key {
		if i > 0 {
			b = append(b, 0)
		}
		switch part.kind {
		case "user":
			if auth, ok := scope.Auth(); ok && auth.Username != "" {
				b = append(append(b, "user "...), auth.Username...)
				continue
			}
			b = l.appendAddress(b, scope.Client.Host)
		case "path":
			b = append(append(b, scope.RootPath...), scope.Path...)
		case "header":
			b = append(b, scope.Headers.Get(part.header)...)
		default:
			b = l.appendAddress(b, scope.Client.Host)
		}
	}
	return b
}

// appendAddress appends the network of a client: its address, or its prefix with IPv6.
func (l *rateLimit) appendAddress(b []byte, host string) []byte {
	addr, err := netip.ParseAddr(host)
	if err != nil { // a Unix socket
		return append(b, host...)
	}
	if addr = addr.Unmap().WithZone(""); addr.Is6() {
		if prefix, err := addr.Prefix(l.IPv6Prefix); err == nil {
			addr = prefix.Addr()
		}
	}
	return addr.AppendTo(b)
}

// shortKey returns key, or a hash of it if it is long.
func shortKey(key []byte) []byte {
	if len(key) <= maxRateKey {
		return key
	}
	sum := sha256.Sum256(key)
	return append(key[:0], sum[:]...)
}
