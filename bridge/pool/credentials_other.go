//go:build unix && !linux

package pool

import "net"

// checkPID trusts the token and the directory where the system has no SO_PEERCRED.
func checkPID(*net.UnixConn, int) error { return nil }
