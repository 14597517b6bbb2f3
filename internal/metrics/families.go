package metrics

import "github.com/prometheus/client_golang/prometheus"

// family is a metric with all its label sets.
type family struct {
	name   string
	kind   prometheus.ValueType // Untyped for a histogram
	help   string
	labels []string
}

// Kinds of families, for short.
const (
	counter   = prometheus.CounterValue
	gauge     = prometheus.GaugeValue
	histogram = prometheus.UntypedValue
)

// The families of the gateway, in the order of docs/metrics.md. A test compares the two.
var (
	info           = add("pagi_bridge_info", gauge, "1, with the version of the program as a label.", "version")
	startTime      = add("pagi_bridge_start_time_seconds", gauge, "When the gateway was started, in seconds since 1970.")
	requestsTotal  = add("pagi_bridge_requests_total", counter, "Requests that have ended.", "mount", "method", "status")
	duration       = add("pagi_bridge_request_duration_seconds", histogram, "Time from the head of a request to the end of its response, without WebSockets and event streams.", "mount")
	running        = add("pagi_bridge_requests_running", gauge, "Requests that applications have now.")
	refused        = add("pagi_bridge_requests_refused_total", counter, "Requests that the server turned down because of their head.")
	connections    = add("pagi_bridge_connections", gauge, "Open connections.", "protocol")
	connectionsAll = add("pagi_bridge_connections_total", counter, "Connections that clients have opened.")
	connectionsNo  = add("pagi_bridge_connections_refused_total", counter, "Connections that were turned away because there were too many.")
	certificate    = add("pagi_bridge_certificate_expiry_timestamp_seconds", gauge, "When a certificate expires, in seconds since 1970; 0 where none was obtained yet.", "file", "domain")
	workers        = add("pagi_bridge_workers", gauge, "Worker processes.", "mount", "state")
	memory         = add("pagi_bridge_worker_memory_bytes", gauge, "Resident memory of the worker processes together.", "mount")
	restarts       = add("pagi_bridge_worker_restarts_total", counter, "Worker processes that were replaced.", "mount", "cause")
	failedStarts   = add("pagi_bridge_worker_failed_starts_total", counter, "Worker processes whose start came to nothing.", "mount")
	mountRunning   = add("pagi_bridge_mount_running", gauge, "Requests that a worker, a script or an upstream has now.", "mount")
	mountQueued    = add("pagi_bridge_mount_queued", gauge, "Requests that wait for a worker or a place to run a script now.", "mount")
	queueWait      = add("pagi_bridge_queue_wait_seconds", histogram, "Time that requests have waited for a worker or a place to run a script; those that did not wait are left out.", "mount")
	failures       = add("pagi_bridge_mount_errors_total", counter, "Requests that have failed.", "mount", "class")
	cgiRuns        = add("pagi_bridge_cgi_runs_total", counter, "Runs of CGI scripts.", "mount", "mode")
	dropped        = add("pagi_bridge_app_dropped_total", counter, "Measures of an application that were dropped.", "mount", "reason")
)

var families []*family

func add(name string, kind prometheus.ValueType, help string, labels ...string) *prometheus.Desc {
	families = append(families, &family{name, kind, help, labels})
	return prometheus.NewDesc(name, help, labels, nil)
}
