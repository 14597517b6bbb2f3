//go:build !linux

package server

import "net"

// limitUnsent does nothing: the system decides how much of a response it buffers.
func limitUnsent(net.Conn) error { return nil }
