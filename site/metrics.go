package site

import (
	"slices"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/internal/metrics"
	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// KindMetrics is the kind of a mount that shows the metrics.
const KindMetrics = "metrics"

// measure makes the registry, unless there is one, and has it know the mounts. Sites that follow one another have the same,
// so that counters go on after a reload.
func (s *Site) measure() {
	switch {
	case s.Metrics != nil:
	case s.predecessor != nil && s.predecessor.Metrics != nil:
		s.Metrics = s.predecessor.Metrics
	default:
		s.Metrics = metrics.New()
		s.Metrics.SetSource(func() *status.Gateway {
			g := status.Gateway{Responses: s.Metrics.Responses(), Draining: s.front.drains.whole.since()}
			for _, m := range s.All() {
				g.Mounts = append(g.Mounts, m.Status())
			}
			return &g
		})
	}
	for _, m := range s.Mounts {
		s.Metrics.AddMount(m.Name())
		if s.counts() {
			m.counted = s.Metrics.Requests(m.Name())
		}
	}
}

// counts reports whether anything in the site shows the counts of requests.
func (s *Site) counts() bool {
	return s.Settings.MetricsListen != "" || s.Settings.StatusSocket != "" || slices.ContainsFunc(s.All(), func(m *Mount) bool {
		switch m.Options.(type) {
		case *apps.Metrics, *apps.StatusPage:
			return true
		}
		return false
	})
}

// Observers returns what the server must tell of each request: nothing in a site that shows no counts of them and records no
// traces. Build must have been called.
func (s *Site) Observers() (list []engine.Observer) {
	if s.counts() {
		registry := s.Metrics
		list = append(list, engine.ObserverFunc(func(r *engine.Record) {
			method := ""
			if r.Request != nil {
				method = r.Request.Method
			}
			registry.Requests(r.Mount()).Done(method, r.Status, r.Duration, r.IsStream())
		}))
	}
	if s.Tracer != nil {
		list = append(list, s.Tracer.Observer(s.tracePeers()))
	}
	return list
}
