// Package forwarded reads what proxies write about the request that they pass on: the header
// Forwarded of RFC 7239, and addresses as X-Forwarded-For has them.
package forwarded

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/headername"
)

// Element is what one proxy says.
type Element struct {
	// For is the node that made the request to the proxy, as ParseNode reads it.
	For string
	// Proto and Host are the scheme and the Host header with which it came; "" if the proxy does not
	// say.
	Proto, Host string
	// Text is the element as it stands in the header.
	Text string
	// Broken marks text that is no element. A client may send it in front of what proxies append.
	Broken bool
}

// Parse returns the elements of a Forwarded header, in their order. Text that is not an element is
// returned as one that is Broken, up to the next comma. A quote that a client leaves open does not
// hide the elements that proxies append behind it.
func Parse(header string) (all []Element) {
	for {
		e, rest, ok := parseElement(header)
		if !ok {
			end := strings.IndexByte(header, ',')
			if end < 0 {
				end = len(header)
			}
			e, rest = Element{Broken: true}, header[end:]
		}
		e.Text = strings.Trim(header[:len(header)-len(rest)], " \t")
		all = append(all, e)
		if rest == "" {
			return all
		}
		header = rest[1:] // behind the comma
	}
}

// parseElement reads an element and returns what follows it: "", or text that begins with a comma.
func parseElement(s string) (e Element, rest string, ok bool) {
	seen := map[string]bool{}
	for {
		s = trimLeft(s)
		if s == "" || s[0] == ',' { // RFC 9110 section 5.6.1 allows empty elements of a list
			return e, s, true
		}
		if s[0] == ';' {
			s = s[1:]
			continue
		}
		name, after, found := strings.Cut(s, "=")
		if !found || !headername.IsToken(name) {
			return e, "", false
		}
		value, after, valid := parseValue(after)
		name = strings.ToLower(name)
		if !valid || seen[name] {
			return e, "", false
		}
		seen[name] = true
		switch name {
		case "for":
			e.For = value
		case "proto":
			e.Proto = value
		case "host":
			e.Host = value
		}
		s = trimLeft(after)
		if s != "" && s[0] != ';' && s[0] != ',' {
			return e, "", false
		}
	}
}

func trimLeft(s string) string { return strings.TrimLeft(s, " \t") }

// parseValue reads a token or a quoted string. A token may have colons and brackets, which many
// proxies write without quotes.
func parseValue(s string) (value, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		end := strings.IndexAny(s, ";, \t")
		if end < 0 {
			end = len(s)
		}
		return s[:end], s[end:], end > 0 && !strings.Contains(s[:end], `"`)
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; c {
		case '"':
			return b.String(), s[i+1:], true
		case '\\':
			i++
			if i == len(s) {
				return "", "", false
			}
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}

// ParseNode reads an address with an optional port: "192.0.2.1", "192.0.2.1:4711", "2001:db8::1",
// "[2001:db8::1]:4711". port is 0 if there is none. ok is false for anything else, such as
// "unknown" and the obfuscated names of RFC 7239 section 6.3.
func ParseNode(s string) (addr netip.Addr, port int, ok bool) {
	s = strings.Trim(s, " \t")
	if addr, err := netip.ParseAddr(s); err == nil {
		return addr.Unmap().WithZone(""), 0, true
	}
	if inner, bracketed := strings.CutPrefix(s, "["); bracketed {
		if inner, bracketed = strings.CutSuffix(inner, "]"); bracketed {
			addr, err := netip.ParseAddr(inner)
			return addr.WithZone(""), 0, err == nil && addr.Is6()
		}
	}
	host, number := s, ""
	if i := strings.LastIndexByte(s, ':'); i >= 0 {
		host, number = s[:i], s[i+1:]
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		if number == "" || number[0] != '_' { // a port may be obfuscated
			return netip.Addr{}, 0, false
		}
		n = 0
	}
	if bracketed := strings.HasPrefix(host, "["); bracketed != strings.Contains(host, ":") {
		return netip.Addr{}, 0, false
	}
	addr, err = netip.ParseAddr(strings.Trim(host, "[]"))
	return addr.Unmap().WithZone(""), int(n), err == nil
}
