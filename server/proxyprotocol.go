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

	"github.com/pagi-go/pagi-bridge/internal/network"
)

// trusts reports whether a peer is in one of the networks. Clients of a Unix socket are trusted,
// because its permissions have let them in.
func trusts(proxies network.Set, peer net.Addr) bool {
	tcp, ok := peer.(*net.TCPAddr)
	if !ok {
		return peer.Network() == "unix"
	}
	return proxies.Has(tcp.AddrPort().Addr())
}

// ParseNetwork reads an address ("10.0.0.1") or a network ("10.0.0.0/8").
func ParseNetwork(text string) (netip.Prefix, error) { return network.Parse(text) }

// isTrusted reports whether a connection comes from a trusted proxy, or by a Unix socket. Its
// client may have spoken TLS to that proxy.
func (r *running) isTrusted(c net.Conn) bool {
	t, ok := c.(*tracked)
	return ok && trusts(r.proxies, t.inner.RemoteAddr())
}

var errNotTrusted = errors.New("it is none of the proxies that may connect")

// A proxy whose listener is of IPv6, and takes clients of IPv4, too, sends "TCP6" with an IPv4
// address, as nginx does.
func init() { proxyproto.V1AcceptIPv4InTCP6 = true }

// readProxyHeader reads the client's address from the PROXY header (version 1 or 2), which a proxy
// must send first and within limit. It reads no byte beyond the header.
func (r *running) readProxyHeader(c *tracked, limit time.Duration) error {
	if !trusts(r.proxies, c.inner.RemoteAddr()) {
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

// warnProxy logs a connection that is closed because it has no PROXY header from a trusted proxy.
func (r *running) warnProxy(c *tracked, err error) {
	peer := c.inner.RemoteAddr().String()
	switch {
	case errors.Is(err, errNotTrusted):
		r.warnings.warn("connection is not from a proxy that may connect", "option", "--proxy-protocol-from", "peer", peer)
	case errors.Is(err, errNoProxyHeader):
		r.warnings.warn("connection of a proxy does not begin with a PROXY header", "peer", peer, "error", err)
	default:
		r.warnings.warn("PROXY header of a proxy is malformed", "peer", peer, "error", err)
	}
}

var errNoProxyHeader = errors.New("it does not begin with a PROXY header")

// signature2 begins a header of version 2.
const signature2 = "\r\n\r\n\x00\r\nQUIT\n"

// proxyHeader reads a header and no byte beyond it. The shortest one of version 1 is longer than
// the signature of version 2.
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
