//go:build !linux

package sysio

import (
	"net"
	"time"
)

// Lot waits for many connections with one goroutine, on Linux.
type Lot struct{}

// Park reports false: nothing can be parked here.
func (*Lot) Park(net.Conn, time.Time, Parked) bool { return false }

// Len returns 0.
func (*Lot) Len() int { return 0 }

// WakeAll does nothing.
func (*Lot) WakeAll() {}
