package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/internal/tally"
)

// workerStates are the values of the label state. A state that a worker is not in is told as 0.
var workerStates = []string{"starting", "ready", "busy", "draining", "exiting", "dead"}

// gatewayCollector collects the metrics of the gateway.
type gatewayCollector struct{ *Registry }

// Describe implements prometheus.Collector. Without descriptions the metrics are checked when they are collected.
func (gatewayCollector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c gatewayCollector) Collect(to chan<- prometheus.Metric) {
	for mount, r := range *c.requests.Load() {
		r.collect(mount, to)
	}
	c.mu.Lock()
	source := c.source
	counts := make(map[string]*tally.Mount, len(c.counts))
	for mount, of := range c.counts {
		counts[mount] = of
	}
	c.mu.Unlock()
	for mount, of := range counts {
		for why := range tally.Reasons {
			to <- number(dropped, counter, float64(of.Dropped(why)), mount, why.String())
		}
	}
	if source != nil {
		collectGateway(source(), to)
	}
}

func number(desc *prometheus.Desc, kind prometheus.ValueType, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, kind, value, labels...)
}

func (r *Requests) collect(mount string, to chan<- prometheus.Metric) {
	for m := range r.counts {
		for s := range r.counts[m] {
			if n := r.counts[m][s].Load(); n > 0 {
				to <- number(requestsTotal, counter, float64(n), mount, methods[m], statuses[s])
			}
		}
	}
	counts := r.durations()
	bounds := make([]float64, len(durationBounds))
	for i, d := range durationBounds {
		bounds[i] = d.Seconds()
	}
	to <- buckets(duration, bounds, counts[:], time.Duration(r.took.Load()).Seconds(), mount)
}

// buckets makes a histogram. counts has one number more than bounds; each counts what no smaller bucket has.
func buckets(desc *prometheus.Desc, bounds []float64, counts []uint64, sum float64, labels ...string) prometheus.Metric {
	all, upTo := uint64(0), make(map[float64]uint64, len(bounds))
	for i, n := range counts {
		all += n
		if i < len(bounds) {
			upTo[bounds[i]] = all
		}
	}
	return prometheus.MustNewConstHistogram(desc, all, sum, upTo, labels...)
}

func collectGateway(g *status.Gateway, to chan<- prometheus.Metric) {
	if g.Version != "" {
		to <- number(info, gauge, 1, g.Version)
	}
	if !g.Since.IsZero() {
		to <- number(startTime, gauge, float64(g.Since.UnixMilli())/1000)
	}
	to <- number(running, gauge, float64(g.Requests))
	to <- number(refused, counter, float64(g.Traffic.RequestsRefused))
	for protocol, n := range map[string]int{"http1": g.Protocols.HTTP1, "http2": g.Protocols.HTTP2, "http3": g.Protocols.HTTP3} {
		to <- number(connections, gauge, float64(n), protocol)
	}
	to <- number(connectionsAll, counter, float64(g.Traffic.Connections))
	to <- number(connectionsNo, counter, float64(g.Traffic.ConnectionsRefused))
	type source struct{ file, domain string }
	told := map[source]bool{}
	for _, c := range g.Certificates {
		from := source{c.File, c.Domain}
		if told[from] {
			continue
		}
		told[from] = true
		expires := int64(0)
		if !c.Expires.IsZero() {
			expires = c.Expires.Unix()
		}
		to <- number(certificate, gauge, float64(expires), c.File, c.Domain)
	}
	for _, m := range g.Mounts {
		if m.Backend != nil {
			collectMount(m.Mount, m.Backend, to)
		}
	}
}

func collectMount(mount string, b *status.Backend, to chan<- prometheus.Metric) {
	to <- number(mountRunning, gauge, float64(b.Running), mount)
	to <- number(mountQueued, gauge, float64(b.Queued), mount)
	if len(b.Upstreams) > 0 {
		return
	}
	t := &b.Totals
	counts := make([]uint64, len(t.WaitsByTime))
	for i, n := range t.WaitsByTime {
		counts[i] = uint64(n)
	}
	to <- buckets(queueWait, status.WaitBounds[:], counts, time.Duration(t.Waited).Seconds(), mount)
	e := &t.Errors
	for class, n := range map[string]int64{
		"application": e.Application, "invalid": e.Invalid, "died": e.Died, "timed_out": e.TimedOut, "limit": e.Limit,
		"queue_full": e.QueueFull, "queue_timeout": e.QueueTimeout, "unavailable": e.Unavailable, "refused": e.Refused,
	} {
		to <- number(failures, counter, float64(n), mount, class)
	}
	if b.Runs != nil {
		for mode, n := range map[string]int64{"exec": b.Runs.Exec, "fork": b.Runs.Fork, "persistent": b.Runs.Persistent} {
			to <- number(cgiRuns, counter, float64(n), mount, mode)
		}
		return
	}
	collectWorkers(mount, b, to)
}

func collectWorkers(mount string, b *status.Backend, to chan<- prometheus.Metric) {
	states := map[string]int{}
	var resident int64
	for _, w := range b.Workers {
		states[w.State]++
		resident += w.Resident
	}
	for _, state := range workerStates {
		to <- number(workers, gauge, float64(states[state]), mount, state)
	}
	to <- number(memory, gauge, float64(resident), mount)
	r := &b.Totals.Restarts
	for cause, n := range map[string]int64{
		"died": r.Died, "exited": r.Exited, "timed_out": r.TimedOut, "max_requests": r.MaxRequests, "max_age": r.MaxAge,
		"max_rss": r.MaxRSS, "reload": r.Reload,
	} {
		to <- number(restarts, counter, float64(n), mount, cause)
	}
	to <- number(failedStarts, counter, float64(b.Totals.FailedStarts), mount)
}

// appCollector collects what applications have counted.
type appCollector struct{ *Registry }

// Describe implements prometheus.Collector. The metrics are not known beforehand.
func (appCollector) Describe(chan<- *prometheus.Desc) {}

// appPrefix begins the name of each metric of an application, so that none can have the name of another metric.
const appPrefix = "app_"

// Collect implements prometheus.Collector.
func (c appCollector) Collect(to chan<- prometheus.Metric) {
	c.mu.Lock()
	counts := make(map[string]*tally.Mount, len(c.counts))
	for mount, of := range c.counts {
		counts[mount] = of
	}
	c.mu.Unlock()
	for mount, of := range counts {
		for _, s := range of.Series() {
			to <- appMetric(mount, &s)
		}
	}
}

func appMetric(mount string, s *tally.Series) prometheus.Metric {
	names, values := []string{"mount"}, []string{mount}
	for _, l := range s.Labels {
		names, values = append(names, l.Name), append(values, l.Value)
	}
	name := appPrefix + s.Name
	switch s.Kind {
	case tally.Counter:
		return number(prometheus.NewDesc(name+"_total", "A counter of an application.", names, nil), counter, s.Value, values...)
	case tally.Timing:
		return buckets(prometheus.NewDesc(name+"_seconds", "A duration that an application has measured.", names, nil), tally.Bounds[:], s.Times[:], s.Value, values...)
	}
	return number(prometheus.NewDesc(name, "A gauge of an application, summed over its workers.", names, nil), gauge, s.Value, values...)
}
