// Package h2connect makes net/http accept extended CONNECT (RFC 8441), which opens WebSockets on
// HTTP/2. net/http reads the environment once, when it is initialised: GODEBUG must hold
// http2xconnect=1 by then. A //go:debug line comes too late.
//
// Go initialises packages in the order of their import paths as far as their imports allow. This
// package imports nothing that net/http does not, and its path comes first, so its init runs before
// net/http's. A package that imports it calls Restore in an init of its own.
package h2connect

import (
	"os"
	"strings"
)

const name = "GODEBUG"

var earlier, set = os.LookupEnv(name)

var changed = func() bool {
	if strings.Contains(earlier, "http2xconnect=") {
		return false // the environment already decides
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
		_ = os.Setenv(name, earlier) // setting it has worked before
	default:
		_ = os.Unsetenv(name)
	}
}
