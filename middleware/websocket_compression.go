package middleware

import (
	"context"

	"github.com/pagi-go/pagi-bridge/internal/option"
	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/internal/wscompression"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// WebSocketCompression sets how WebSockets are compressed (permessage-deflate, RFC 7692). The server
// compresses, if the client offers that; these settings take the place of the server's own. They have
// no effect with a server other than this module's. The level of compression cannot be set.
type WebSocketCompression struct {
	// Off turns compression off.
	Off bool `yaml:"off"`
	// MinSize is the size of the smallest message that is compressed. -1 compresses all messages.
	MinSize int `yaml:"min_size" unit:"bytes" default:"128" zero:"off"`
	// ServerNoContextTakeover compresses each message of the server on its own. It saves 8 KiB of
	// memory for each connection, and costs bytes on the wire.
	ServerNoContextTakeover bool `yaml:"server_no_context_takeover"`
	// ClientNoContextTakeover asks the client to do so. It saves 32 KiB for each connection.
	ClientNoContextTakeover bool `yaml:"client_no_context_takeover"`
}

func init() { parts.Middleware[WebSocketCompression]("websocket_compression") }

// Check reports a negative MinSize.
func (m WebSocketCompression) Check() error {
	if m.MinSize < 0 && m.MinSize != -1 {
		return pagi.BadOption("min_size", "must not be negative, is %d", m.MinSize)
	}
	return nil
}

// Wrap puts m around next.
func (m WebSocketCompression) Wrap(next pagi.App) pagi.App {
	option.SetDefaults(&m)
	settings := wscompression.Settings{Off: m.Off, MinSize: max(m.MinSize, 0), ServerNoTakeover: m.ServerNoContextTakeover, ClientNoTakeover: m.ClientNoContextTakeover}
	return wrap(m, next, func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Type == pagi.TypeWebSocket && scope.Stash != nil {
			scope.Stash.Set(wscompression.Key{}, settings)
		}
		return next.Serve(ctx, scope, receive, send)
	})
}
