package server

import (
	"fmt"

	"github.com/pagi-go/pagi-bridge/server/ws"
)

// WSCompressionMode says whether messages of WebSockets may be compressed.
type WSCompressionMode string

const (
	// WSCompressionOn agrees to permessage-deflate where the client offers it.
	WSCompressionOn WSCompressionMode = "on"
	// WSCompressionOff never does.
	WSCompressionOff WSCompressionMode = "off"
)

// newWS returns what makes WebSockets, with the options' limits.
func (s *Server) newWS() (*ws.Server, error) {
	mode := orDefault(s.WSCompression, WSCompressionOn)
	if mode != WSCompressionOn && mode != WSCompressionOff {
		return nil, fmt.Errorf("server: WebSocket compression %q: must be on or off", mode)
	}
	return &ws.Server{
		MaxFrameSize:   s.MaxWSFrameSize,
		MaxMessageSize: s.MaxWSMessageSize,
		IdleTimeout:    s.WSIdleTimeout,
		WriteTimeout:   orDefault(s.WriteTimeout, DefaultWriteTimeout),
		NoCompression:  mode == WSCompressionOff,
	}, nil
}
