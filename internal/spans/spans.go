// Package spans has what the rooms that record spans have in common: names of spans and of attributes. It may import package
// pagi only, and knows nothing of OpenTelemetry, which is internal/tracing's.
package spans

import (
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Names of attributes.
const (
	Mount   = "pagi.mount"    // host and path of the mount
	Worker  = "pagi.worker"   // the number of a worker, from 1 in the order of starts
	PID     = "process.pid"   // of a worker, a script or a plugin
	Script  = "pagi.script"   // the file of a CGI script
	Mode    = "pagi.cgi.mode" // how it is run
	Backend = "pagi.backend"  // the backend of a proxy, as the site file names it
)

// waiting is the name of the span of a request that waits for a worker, or for a place to run a script.
const waiting = "wait"

// Wait records the span of a request that has waited. The error says why it has waited in vain.
func Wait(t pagi.Trace, from, to time.Time, err error) { t.Start(waiting, from).End(to, err) }
