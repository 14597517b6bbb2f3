// Package network reads lists of addresses and networks, and tells which peers are in them.
package network

import (
	"fmt"
	"net/netip"
	"strings"
)

// Unix is the entry of a list that stands for all peers that come by a Unix socket.
const Unix = "unix"

// Set is a set of networks. The zero Set is empty. Its methods are safe for concurrent use.
type Set struct {
	prefixes []netip.Prefix
	unix     bool
}

// Parse reads an address ("10.0.0.1") or a network ("10.0.0.0/8").
func Parse(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		addr = addr.Unmap().WithZone("")
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is neither an IP address nor a network as 10.0.0.0/8", text)
	}
	if addr := prefix.Addr(); addr.Is4In6() { // addresses of clients are compared as IPv4
		if prefix.Bits() < 96 {
			return netip.Prefix{}, fmt.Errorf("%q is neither a network of IPv4 nor one of IPv6", text)
		}
		prefix = netip.PrefixFrom(addr.Unmap(), prefix.Bits()-96)
	}
	return prefix.Masked(), nil
}

// ParseSet reads a list whose entries are addresses, networks, or Unix.
func ParseSet(list []string) (s Set, err error) {
	for _, text := range list {
		if text == Unix {
			s.unix = true
			continue
		}
		prefix, err := Parse(text)
		if err != nil {
			return Set{}, err
		}
		s.prefixes = append(s.prefixes, prefix)
	}
	return s, nil
}

// IsEmpty reports whether the set has no peers.
func (s Set) IsEmpty() bool { return len(s.prefixes) == 0 && !s.unix }

// Has reports whether an address is in the set. An IPv4 address in IPv6 form counts as IPv4, and a
// zone is left out.
func (s Set) Has(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	for _, prefix := range s.prefixes {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// HasHost reports whether the host of a peer is in the set: an IP address, or for a Unix socket its
// path or "".
func (s Set) HasHost(host string) bool {
	if host != "" { // its error would cost an allocation
		if addr, err := netip.ParseAddr(host); err == nil {
			return s.Has(addr)
		}
	}
	return s.unix && (host == "" || strings.HasPrefix(host, "/") || strings.HasPrefix(host, "@"))
}
