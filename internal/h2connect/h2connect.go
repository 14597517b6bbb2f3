// Package h2connect makes net/http accept extended CONNECT on HTTP/2 (RFC 8441), by
// which WebSockets come there. net/http asks the environment whether it may, once, when
// it is initialised: GODEBUG must hold http2xconnect=1 by then. A //go:debug line does
// not reach it.
//
// Go initialises packages in the order of their import paths as far as their imports
// allow. This one imports nothing that net/http does not, and its path comes first, so
// it is always in time. Whoever imports it calls Restore in an init of its own.
package h2connect

import (
	"os"
	"strings"
)

const name = "GODEBUG"

var earlier, set = os.LookupEnv(name)

var changed = func() bool {
	if strings.Contains(earlier, "http2xconnect=") {
		return false // somebody has decided
	}
	value := "http2xconnect=1"
	if earlier != "" {
		value = earlier + "," + value
	}
	return os.Setenv(name, value) == nil
}()

// Restore makes the environment what it was, for the processes that will inherit it.
func Restore() {
	switch {
	case !changed:
	case set:
		_ = os.Setenv(name, earlier) // it could be set before
	default:
		_ = os.Unsetenv(name)
	}
}
