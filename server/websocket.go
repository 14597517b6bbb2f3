package server

import (
	"fmt"

	"github.com/pagi-go/pagi-bridge/server/ws"
)

// WSCompressionMode selects whether messages of WebSockets may be compressed.
type WSCompressionMode string

const (
	// WSCompressionOn agrees to permessage-deflate if the client offers it.
	WSCompressionOn WSCompressionMode = "on"
	// WSCompressionOff never agrees to it.
	WSCompressionOff WSCompressionMode = "off"
)

// newWS returns the server of WebSocket connections, with the limits of the options.
func (g *generation) newWS() (*ws.Server, error) {
	mode := orDefault(g.WSCompression, WSCompressionOn)
	if mode != WSCompressionOn && mode != WSCompressionOff {
		return nil, fmt.Errorf("server: WebSocket compression %q: must be on or off", mode)
	}
	return &ws.Server{
		MaxFrameSize:   g.MaxWSFrameSize,
		MaxMessageSize: g.MaxWSMessageSize,
		IdleTimeout:    g.WSIdleTimeout,
		WriteTimeout:   g.WriteTimeout,
		NoCompression:  mode == WSCompressionOff,
		Replaced:       g.replaced,
	}, nil
}
