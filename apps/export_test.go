package apps

import (
	"context"
	"net"
	"time"
)

// SetDial makes a proxy connect to its backends by dial.
func (p *Proxy) SetDial(dial func(ctx context.Context, network, address string) (net.Conn, error)) {
	p.dial = dial
}

// SetPace sets the times between two views and between two points of a status page.
func (s *StatusPage) SetPace(every, pointEvery time.Duration) {
	s.recorder.Every, s.recorder.PointEvery = every, pointEvery
}
