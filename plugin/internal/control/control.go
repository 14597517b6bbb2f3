// Package control is the control plane between a gateway and a plugin: the gRPC service of plugin/proto/plugin.proto,
// over hashicorp/go-plugin. Both sides are here. An Adapter is what a plugin does, and a Server carries it over gRPC. The
// gateway's side is the generated client, whose results Check functions validate before anything is done with them.
//
// Nothing of a request passes here. A plugin names sockets, and the gateway speaks the wire with them.
//
// The files: control.go is the handshake, adapter.go the plugin's side, server.go carries it; board.go has the endpoints,
// logbook.go the log records; check.go validates what a plugin says.
package control

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pagi-go/pagi-bridge/plugin/internal/pluginpb"
)

// The versions of the protocol that this package speaks.
const (
	LeastProtocol = 1
	MostProtocol  = 1
)

// Handshake is what go-plugin compares before anything else, so that a plugin that a person starts by mistake says what
// it is. It is no secret.
var Handshake = goplugin.HandshakeConfig{
	ProtocolVersion: LeastProtocol, MagicCookieKey: "PAGI_BRIDGE_PLUGIN", MagicCookieValue: "b1e0c3f4-a-pagi-plugin",
}

// Service is the name of the only plugin of the set, in go-plugin's sense.
const Service = "pagi"

// MaxMessage is the largest message of the control plane, in bytes. A larger one is an error of the call.
const MaxMessage = 4 << 20

// Session is go-plugin's half of either side. The zero value is the gateway's.
type Session struct {
	goplugin.NetRPCUnsupportedPlugin
	server *Server
}

// GRPCServer implements goplugin.GRPCPlugin.
func (s *Session) GRPCServer(_ *goplugin.GRPCBroker, registrar *grpc.Server) error {
	if s.server == nil {
		return errors.New("this side of a plugin has no server")
	}
	pluginpb.RegisterPluginServer(registrar, s.server)
	return nil
}

// GRPCClient implements goplugin.GRPCPlugin. The result is a pluginpb.PluginClient.
func (s *Session) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return pluginpb.NewPluginClient(conn), nil
}

// Versioned returns the sets of go-plugin for all versions of the protocol; server is nil on the gateway's side.
func Versioned(server *Server) map[int]goplugin.PluginSet {
	sets := map[int]goplugin.PluginSet{}
	for version := LeastProtocol; version <= MostProtocol; version++ {
		sets[version] = goplugin.PluginSet{Service: &Session{server: server}}
	}
	return sets
}

// Agree returns the highest version that both sides speak. The error names both ranges.
func Agree(least, most uint32) (version uint32, err error) {
	version = min(most, MostProtocol)
	if version < max(least, LeastProtocol) || least > most {
		return 0, fmt.Errorf("it speaks the versions %s of the plugin protocol, and this side speaks %s",
			span(least, most), span(LeastProtocol, MostProtocol))
	}
	return version, nil
}

func span(least, most uint32) string {
	if least == most {
		return strconv.Itoa(int(least))
	}
	return fmt.Sprintf("%d to %d", least, most)
}

// Missing reports whether a call has failed because the other side does not have it.
func Missing(err error) bool { return status.Code(err) == codes.Unimplemented }

// errLate is what Words returns for a call whose deadline has passed.
var errLate = errors.New("it does not answer in time")

// GreetingSlack is how much longer go-plugin waits for a greeting than the context of a start lasts, so that always the
// context ends the wait, and its cause tells why.
const GreetingSlack = time.Second

// deadlineSlack is how much sooner than a context gRPC may see a deadline pass: it looks at the clock itself, and the
// timer of the context may run late on a busy machine.
const deadlineSlack = 50 * time.Millisecond

// Expired reports whether ctx is done, or is about to be because a call with it has failed by its deadline. In both cases
// ctx is done when Expired returns true, so that context.Cause tells why. err is what Words has returned, or wraps it.
func Expired(ctx context.Context, err error) bool {
	if ctx.Err() != nil {
		return true
	}
	deadline, has := ctx.Deadline()
	if !errors.Is(err, errLate) || !has || time.Until(deadline) > deadlineSlack {
		return false
	}
	<-ctx.Done()
	return true
}

// Words returns what an error of a call says, without the words of gRPC around it.
func Words(err error) error {
	s, is := status.FromError(err)
	switch {
	case err == nil || !is:
		return err
	case s.Code() == codes.Unavailable:
		return fmt.Errorf("the connection to it has ended (%s)", clip(s.Message(), 300))
	case s.Code() == codes.DeadlineExceeded:
		return errLate
	case s.Code() == codes.ResourceExhausted:
		return fmt.Errorf("it answers with too much: %s", clip(s.Message(), 300))
	}
	return errors.New(clip(s.Message(), 4096))
}

// clip shortens a text of another process for a log or a message, and takes its control characters away.
func clip(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' && r != '\n' && r != '\t' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}
