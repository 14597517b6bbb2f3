// Package supervisor names the environment variables by which systemd talks to the process it has started.
package supervisor

import "slices"

// own are the variables for one process alone, which name its number or its descriptors.
var own = []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"}

// private are the variables for the gateway alone, in whichever process it runs.
var private = slices.Concat([]string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "JOURNAL_STREAM", "PAGI_BRIDGE_SHARED"}, own)

// IsOwn reports whether a variable is meant for this process alone, and not for a process that
// takes its place.
func IsOwn(name string) bool { return slices.Contains(own, name) }

// Private returns the variables that no worker and no script may see. With them a script could send
// systemd messages in the name of the gateway, or would take its standard error for the journal.
func Private() []string { return slices.Clone(private) }

// IsPrivate reports whether a variable is one of Private.
func IsPrivate(name string) bool { return slices.Contains(private, name) }
