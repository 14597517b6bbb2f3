package control

import (
	"context"
	"errors"
	"net"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/pagi-go/pagi-bridge/internal/proc"
)

// Peers are credentials by which either side of a Unix socket looks at the process on the other end, by the kernel's word.
// Nothing is encrypted. Where the system does not tell, everybody who can reach the socket is let in.
type Peers struct {
	// Check returns why the peer is refused.
	Check func(proc.Peer) error
}

var plain = insecure.NewCredentials()

func (p Peers) check(conn net.Conn) error {
	unix, is := conn.(*net.UnixConn)
	if !is {
		return errors.New("the connection is no Unix socket")
	}
	peer, known, err := proc.PeerOf(unix)
	if err != nil || !known {
		return err
	}
	return p.Check(peer)
}

// ServerHandshake implements credentials.TransportCredentials.
func (p Peers) ServerHandshake(conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if err := p.check(conn); err != nil {
		return nil, nil, err
	}
	return plain.ServerHandshake(conn)
}

// ClientHandshake implements credentials.TransportCredentials.
func (p Peers) ClientHandshake(ctx context.Context, name string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if err := p.check(conn); err != nil {
		return nil, nil, err
	}
	return plain.ClientHandshake(ctx, name, conn)
}

// Info implements credentials.TransportCredentials.
func (p Peers) Info() credentials.ProtocolInfo { return plain.Info() }

// Clone implements credentials.TransportCredentials.
func (p Peers) Clone() credentials.TransportCredentials { return p }

// OverrideServerName implements credentials.TransportCredentials.
func (p Peers) OverrideServerName(string) error { return nil }
