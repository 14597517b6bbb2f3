package importer

import (
	"net/netip"
	"strings"
)

// parseNetwork returns an address or a network in its usual form.
func parseNetwork(text string) (string, bool) {
	if a, err := netip.ParseAddr(text); err == nil {
		return a.String(), true
	}
	if p, err := netip.ParsePrefix(text); err == nil {
		return p.Masked().String(), true
	}
	address, mask, is := strings.Cut(text, "/")
	m, err := netip.ParseAddr(mask)
	a, err2 := netip.ParseAddr(address)
	if !is || err != nil || err2 != nil || !m.Is4() || !a.Is4() {
		return "", false
	}
	bits := 0
	for _, b := range m.As4() {
		for ; b&0x80 != 0; b <<= 1 {
			bits++
		}
	}
	p, err := a.Prefix(bits)
	return p.String(), err == nil
}
