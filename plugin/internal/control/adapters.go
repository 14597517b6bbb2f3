package control

import (
	"context"
	"errors"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/pagi-go/pagi-bridge/plugin/internal/adapterpb"
)

// AdapterHandshake is that of the gateway's own adapters. It differs from Handshake, so that an adapter is not taken for a
// plugin.
var AdapterHandshake = goplugin.HandshakeConfig{
	ProtocolVersion: LeastProtocol, MagicCookieKey: "PAGI_BRIDGE_ADAPTER", MagicCookieValue: "6d1f2a8e-a-pagi-adapter",
}

// AdapterService is the name of the only plugin of an adapter's set, in go-plugin's sense.
const AdapterService = "adapter"

// AdapterSession is go-plugin's half of either side of an adapter. The zero value is the gateway's.
type AdapterSession struct {
	goplugin.NetRPCUnsupportedPlugin
	Service adapterpb.AdapterServer
}

// GRPCServer implements goplugin.GRPCPlugin.
func (s *AdapterSession) GRPCServer(_ *goplugin.GRPCBroker, registrar *grpc.Server) error {
	if s.Service == nil {
		return errors.New("this side of an adapter has no server")
	}
	adapterpb.RegisterAdapterServer(registrar, s.Service)
	return nil
}

// GRPCClient implements goplugin.GRPCPlugin. The result is an adapterpb.AdapterClient.
func (s *AdapterSession) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return adapterpb.NewAdapterClient(conn), nil
}
