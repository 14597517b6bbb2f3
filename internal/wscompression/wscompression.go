// Package wscompression is how a middleware tells the server which compression one WebSocket is to
// have. The middleware stores Settings in the scope's Stash before the WebSocket is accepted.
package wscompression

// Key is the key of Settings in a pagi.Stash.
type Key struct{}

// Settings take the place of those of the server.
type Settings struct {
	// Off declines permessage-deflate.
	Off bool
	// MinSize is the size of the smallest message that is compressed, in bytes.
	MinSize int
	// ServerNoTakeover and ClientNoTakeover make each message be compressed on its own (RFC 7692
	// section 7.1.1).
	ServerNoTakeover, ClientNoTakeover bool
}
