// Package metrics has the metrics of a gateway in the form that Prometheus reads.
//
// Requests are counted where they end, in arrays of atomic numbers, one array for each mount (requests.go). What status
// tells anyway is asked when somebody looks, and so are the counts of applications (package tally). The maps of
// client_golang are made at that moment and serve that look alone (collect.go); families.go is the list of all metrics.
package metrics

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/common/expfmt"

	"github.com/pagi-go/pagi-bridge/internal/status"
	"github.com/pagi-go/pagi-bridge/internal/tally"
)

// What Text shows.
const (
	All         = "all"
	Gateway     = "gateway"
	Application = "application"
)

// NoMount is the label mount of requests that came to no mount: no mount has their path, or the server has turned them down.
const NoMount = "none"

// ContentType is that of Text.
const ContentType = "text/plain; version=0.0.4; charset=utf-8"

// Registry has the metrics of one gateway, those of mounts that a reload has removed included. All methods are safe for
// concurrent use.
type Registry struct {
	requests atomic.Pointer[map[string]*Requests] // by mount; replaced, never changed

	mu     sync.Mutex
	counts map[string]*tally.Mount // by mount
	source func() *status.Gateway

	looking sync.Mutex // held while Text gathers, so that many who look cost no more than one
	own     *prometheus.Registry
	apps    *prometheus.Registry
}

// New returns a Registry without mounts.
func New() *Registry {
	r := &Registry{counts: map[string]*tally.Mount{}, own: prometheus.NewRegistry(), apps: prometheus.NewRegistry()}
	r.requests.Store(&map[string]*Requests{NoMount: {}})
	r.own.MustRegister(gatewayCollector{r}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	r.apps.MustRegister(appCollector{r})
	return r
}

// SetSource sets what tells of the gateway at the moment.
func (r *Registry) SetSource(source func() *status.Gateway) {
	r.mu.Lock()
	r.source = source
	r.mu.Unlock()
}

// AddMount makes room for a mount, unless there is some already.
func (r *Registry) AddMount(mount string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if (*r.requests.Load())[mount] != nil {
		return
	}
	next := maps.Clone(*r.requests.Load())
	next[mount] = &Requests{}
	r.requests.Store(&next)
}

// Requests returns the counts of a mount that was added. Any other text stands for NoMount.
func (r *Registry) Requests(mount string) *Requests {
	all := *r.requests.Load()
	if of := all[mount]; of != nil {
		return of
	}
	return all[NoMount]
}

// Responses returns the sum of the counts of all mounts and of what came to none.
func (r *Registry) Responses() (all status.Responses) {
	for _, of := range *r.requests.Load() {
		all = all.Plus(of.Responses())
	}
	return all
}

// Status describes the gateway at this moment, nil where no source was set. It asks the system for the memory of each worker.
func (r *Registry) Status() *status.Gateway {
	r.mu.Lock()
	source := r.source
	r.mu.Unlock()
	if source == nil {
		return nil
	}
	return source()
}

// Counts returns what the application of a mount has counted, which is made where there is none.
func (r *Registry) Counts(mount string) *tally.Mount {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.counts[mount] == nil {
		r.counts[mount] = &tally.Mount{}
	}
	return r.counts[mount]
}

// Check reports a word that Text does not know.
func Check(show string) error {
	switch show {
	case "", All, Gateway, Application:
		return nil
	}
	return fmt.Errorf("must be %s, %s or %s, is %q", All, Gateway, Application, show)
}

// Text returns the metrics in the text format of Prometheus: All of them, which "" means, too, or those of the Gateway or of
// the Application.
func (r *Registry) Text(show string) ([]byte, error) {
	if err := Check(show); err != nil {
		return nil, err
	}
	r.looking.Lock()
	defer r.looking.Unlock()
	var from prometheus.Gatherers
	if show != Application {
		from = append(from, r.own)
	}
	if show != Gateway {
		from = append(from, r.apps)
	}
	families, err := from.Gather()
	var text bytes.Buffer
	for _, family := range families {
		if _, wrong := expfmt.MetricFamilyToText(&text, family); wrong != nil {
			err = errors.Join(err, wrong)
		}
	}
	return text.Bytes(), err
}
