package server

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"github.com/pires/go-proxyproto"
)

// proxies are the networks from which a PROXY header is believed.
type proxies []netip.Prefix

func parseProxies(texts []string) (proxies, error) {
	var all proxies
	for _, text := range texts {
		prefix, err := ParseNetwork(text)
		if err != nil {
			return nil, fmt.Errorf("server: proxies that may connect: %w", err)
		}
		all = append(all, prefix)
	}
	return all, nil
}

// ParseNetwork reads an address ("10.0.0.1") or a network ("10.0.0.0/8").
func ParseNetwork(text string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is neither an IP address nor a network as 10.0.0.0/8", text)
	}
	return prefix.Masked(), nil
}

// trusts reports whether a peer is one of them. Clients of a Unix socket are: its
// permissions have let them in.
func (p proxies) trusts(peer net.Addr) bool {
	tcp, ok := peer.(*net.TCPAddr)
	if !ok {
		return peer.Network() == "unix"
	}
	addr := tcp.AddrPort().Addr().Unmap().WithZone("")
	for _, prefix := range p {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

var errNotTrusted = errors.New("it is none of the proxies that may connect")

// readProxyHeader learns the client's address from the PROXY header (version 1 or 2)
// that a proxy sends before anything else, within limit. Not a byte behind it is read.
func (r *running) readProxyHeader(c *tracked, limit time.Duration) error {
	if !r.proxies.trusts(c.inner.RemoteAddr()) {
		return errNotTrusted
	}
	if err := c.limit(limit); err != nil {
		return err
	}
	raw, err := proxyHeader(c)
	if err != nil {
		return err
	}
	if err := c.limit(0); err != nil {
		return err
	}
	header, err := proxyproto.Read(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		return err
	}
	if header.Command.IsProxy() && header.SourceAddr != nil {
		c.remote, c.local = header.SourceAddr, header.DestinationAddr
	}
	return nil
}

var errNoProxyHeader = errors.New("it does not begin with a PROXY header")

// signature2 begins a header of version 2.
const signature2 = "\r\n\r\n\x00\r\nQUIT\n"

// proxyHeader reads a header and nothing more. The shortest one of version 1 is
// longer than the signature of version 2.
func proxyHeader(r io.Reader) ([]byte, error) {
	const longest1, longest2 = 107, 4 << 10
	head := make([]byte, len(signature2), longest1)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, fmt.Errorf("%w: %w", errNoProxyHeader, err)
	}
	switch {
	case string(head) == signature2:
		head = head[:16]
		if _, err := io.ReadFull(r, head[12:]); err != nil {
			return nil, fmt.Errorf("its PROXY header is incomplete: %w", err)
		}
		rest := int(binary.BigEndian.Uint16(head[14:]))
		if rest > longest2 {
			return nil, fmt.Errorf("its PROXY header has %d bytes; %d are the most", rest, longest2)
		}
		head = append(head, make([]byte, rest)...)
		if _, err := io.ReadFull(r, head[16:]); err != nil {
			return nil, fmt.Errorf("its PROXY header is incomplete: %w", err)
		}
		return head, nil
	case !bytes.HasPrefix(head, []byte("PROXY ")):
		return nil, errNoProxyHeader
	}
	for head[len(head)-1] != '\n' {
		if len(head) == longest1 {
			return nil, fmt.Errorf("its PROXY header has no end in %d bytes", longest1)
		}
		head = head[:len(head)+1]
		if _, err := io.ReadFull(r, head[len(head)-1:]); err != nil {
			return nil, fmt.Errorf("its PROXY header is incomplete: %w", err)
		}
	}
	return head, nil
}
