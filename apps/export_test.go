package apps

import (
	"context"
	"net"
)

// SetDial makes a proxy connect to its backends by dial.
func (p *Proxy) SetDial(dial func(ctx context.Context, network, address string) (net.Conn, error)) {
	p.dial = dial
}
