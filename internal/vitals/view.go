// Package vitals makes of what a gateway tells of itself (package status) what a person watches: rates, quantiles and errors of
// the last seconds, by mount, and what each process is doing. "pagi-bridge top" shows a View in a terminal, and the status page
// shows the same in a browser. view.go has the View, recorder.go the samples of the last hour.
//
// A View has no query strings, no names of files, no command lines and no texts of errors, because the status page may be shown
// to people who must not know them. The texts in it may come from clients: a program that shows them makes them harmless.
package vitals

import (
	"time"

	"github.com/pagi-go/pagi-bridge/internal/status"
)

// View is what one look at a gateway shows. Durations are in milliseconds, sizes in bytes.
type View struct {
	At      time.Time `json:"at"`
	Version string    `json:"version"`
	PID     int       `json:"pid"`
	Uptime  float64   `json:"uptime"` // seconds
	// StopsIn is the number of seconds until the gateway stops, by "pagi-bridge drain"; nil where it is not being drained.
	StopsIn *float64 `json:"stops_in,omitempty"`
	// HTTP1, HTTP2 and HTTP3 are the open connections.
	HTTP1 int `json:"http1"`
	HTTP2 int `json:"http2"`
	HTTP3 int `json:"http3"`
	// Accepted is the number of connections since the start.
	Accepted int64 `json:"accepted"`
	Measures
	Mounts []Mount `json:"mounts"`
	// Services are the programs beside the site, Jobs those of its cron.
	Services []Service `json:"services,omitempty"`
	Jobs     []Job     `json:"jobs,omitempty"`
}

// Measures are what is told of the gateway as a whole and of each mount.
type Measures struct {
	// Running is the number of requests at this moment, Queued of those that wait for a worker.
	Running int64 `json:"running"`
	Queued  int   `json:"queued"`
	// Requests and Failed count since the start.
	Requests int64 `json:"requests"`
	Failed   int64 `json:"failed"`
	// Rate and FailedRate are requests per second since the look before; nil at the first look.
	Rate       *float64 `json:"rate,omitempty"`
	FailedRate *float64 `json:"failed_rate,omitempty"`
	// P50 and P99 are quantiles of the last seconds; nil where no request has ended in them.
	P50 *float64 `json:"p50,omitempty"`
	P99 *float64 `json:"p99,omitempty"`
	// Memory is that of the worker processes together.
	Memory int64 `json:"memory"`
}

// Mount is what is told of a mount.
type Mount struct {
	Mount string `json:"mount"`
	Kind  string `json:"kind"`
	// State is ok, drained, starting (no worker is ready), failing (no worker can be started) or down (no upstream is up).
	State string `json:"state"`
	Measures
	// Workers is the number of worker processes, Busy of those with a request.
	Workers int `json:"workers"`
	Busy    int `json:"busy"`
	// Scripts is the number of scripts that run, Runs of those that have run.
	Scripts int   `json:"scripts"`
	Runs    int64 `json:"runs"`
	// Upstreams is the number of servers behind a proxy, Up of those that are up.
	Upstreams int   `json:"upstreams"`
	Up        int   `json:"up"`
	Restarts  int64 `json:"restarts"`
	// LastCause is why a worker was replaced last, LastRestart how many seconds ago.
	LastCause   string  `json:"last_cause,omitempty"`
	LastRestart float64 `json:"last_restart,omitempty"`
	// Processes are workers and scripts, at most MostProcesses. Left is the number of those that are left out.
	Processes []Process `json:"processes,omitempty"`
	Left      int       `json:"left,omitempty"`
}

// MostProcesses is how many processes of a mount a View has at most.
const MostProcesses = 500

// Process is a worker or a run of a script.
type Process struct {
	ID     int     `json:"id,omitempty"` // 0 for a script
	PID    int     `json:"pid"`
	State  string  `json:"state"` // that of a worker, or exec, fork or persistent for a script
	Served int     `json:"served"`
	Memory int64   `json:"memory"`
	Age    float64 `json:"age"` // seconds
	// Request is what it is running, nil for nothing.
	Request *Request `json:"request,omitempty"`
}

// Request is a request that is running. Its texts come from the client, cut to mostText characters.
type Request struct {
	Method string  `json:"method"`
	Path   string  `json:"path"`
	ID     string  `json:"id,omitempty"`
	For    float64 `json:"for"` // milliseconds
	// Left is set where the client does not wait any more.
	Left bool `json:"left,omitempty"`
}

// mostText is how many characters a View has of a text that comes from a client.
const mostText = 200

// Look is what a gateway told of itself at a moment.
type Look struct {
	At time.Time
	*status.Gateway
}

// Make makes a View of a look. Rates are those since before, quantiles those since earlier; either may have a nil Gateway.
func Make(now, before, earlier Look) *View {
	g := now.Gateway
	v := &View{
		At: now.At, Version: g.Version, PID: g.PID, Uptime: seconds(now.At, g.Since),
		HTTP1: g.Protocols.HTTP1, HTTP2: g.Protocols.HTTP2, HTTP3: g.Protocols.HTTP3, Accepted: g.Traffic.Connections,
	}
	if !g.Stops.IsZero() {
		in := max(0, g.Stops.Sub(now.At).Seconds())
		v.StopsIn = &in
	}
	v.Running = g.Server.Requests
	v.measure(now, before, earlier, func(g *status.Gateway) *status.Responses { return &g.Responses })
	for i := range g.Mounts {
		m := makeMount(&g.Mounts[i], now.At)
		m.measure(now, before, earlier, func(g *status.Gateway) *status.Responses { return responses(g, m.Mount) })
		v.Queued += m.Queued
		v.Memory += m.Memory
		v.Mounts = append(v.Mounts, m)
	}
	v.addBeside(g, now.At)
	return v
}

// Window is how far quantiles look back.
const Window = 10 * time.Second

// Looks are the last looks at a gateway. The zero value has none.
type Looks struct{ list []Look }

// Add adds a look and makes its View: with rates since the look before, and quantiles of the last Window.
func (l *Looks) Add(look Look) *View {
	var before, earlier Look
	if n := len(l.list); n > 0 {
		before, earlier = l.list[n-1], l.list[0]
	}
	for len(l.list) > 1 && look.At.Sub(l.list[1].At) >= Window {
		l.list = l.list[1:]
	}
	l.list = append(l.list, look)
	return Make(look, before, earlier)
}

// responses returns the counts of a mount, nil for none.
func responses(g *status.Gateway, mount string) *status.Responses {
	for i := range g.Mounts {
		if g.Mounts[i].Mount == mount {
			return g.Mounts[i].Responses
		}
	}
	return nil
}

// measure sets what follows from counts.
func (m *Measures) measure(now, before, earlier Look, of func(*status.Gateway) *status.Responses) {
	counts := of(now.Gateway)
	if counts == nil {
		return
	}
	m.Requests, m.Failed = counts.Requests, counts.Failed
	if before.Gateway != nil {
		if then := of(before.Gateway); then != nil && now.At.After(before.At) {
			since, took := counts.Since(*then), now.At.Sub(before.At).Seconds()
			rate, failed := float64(since.Requests)/took, float64(since.Failed)/took
			m.Rate, m.FailedRate = &rate, &failed
		}
	}
	if earlier.Gateway == nil {
		return
	}
	then := of(earlier.Gateway)
	if then == nil {
		return
	}
	if times := counts.Since(*then).Times; times.Quantile(1) > 0 {
		m.P50, m.P99 = milliseconds(times.Quantile(0.5)), milliseconds(times.Quantile(0.99))
	}
}

func makeMount(s *status.Mount, now time.Time) Mount {
	m := Mount{Mount: s.Mount, Kind: s.Kind, State: "ok"}
	if s.Backend != nil {
		m.describe(s.Backend, now)
	}
	if !s.Draining.IsZero() {
		m.State = "drained"
	}
	return m
}

// describe sets what follows from the processes of a mount.
func (m *Mount) describe(b *status.Backend, now time.Time) {
	m.Running, m.Queued = int64(b.Running), b.Queued
	m.Requests, m.Failed = b.Totals.Requests, b.Totals.Errors.Sum() // unless its requests are counted
	m.Restarts = b.Totals.Restarts.Sum()
	if last := b.Totals.LastRestart; last != nil {
		m.LastCause, m.LastRestart = last.Cause, seconds(now, last.At)
	}
	m.Workers, m.Scripts, m.Upstreams = len(b.Workers), len(b.Scripts), len(b.Upstreams)
	if b.Runs != nil {
		m.Runs = b.Runs.Exec + b.Runs.Fork + b.Runs.Persistent
	}
	serving := 0
	for i := range b.Workers {
		w := &b.Workers[i]
		m.Memory += w.Resident
		switch w.State {
		case "busy":
			m.Busy++
			serving++
		case "ready":
			serving++
		}
		m.add(Process{ID: w.ID, PID: w.PID, State: w.State, Served: w.Served, Memory: w.Resident, Age: seconds(now, w.Since), Request: makeRequest(w.Request, now)})
	}
	for i := range b.Scripts {
		s := &b.Scripts[i]
		m.add(Process{PID: s.PID, State: s.Mode, Age: seconds(now, s.Since), Request: makeRequest(s.Request, now)})
	}
	for _, u := range b.Upstreams {
		if u.State == "up" {
			m.Up++
		}
	}
	switch {
	case b.Circuit == "open":
		m.State = "failing"
	case m.Workers > 0 && serving == 0:
		m.State = "starting"
	case m.Upstreams > 0 && m.Up == 0:
		m.State = "down"
	}
}

func (m *Mount) add(p Process) {
	if len(m.Processes) == MostProcesses {
		m.Left++
		return
	}
	m.Processes = append(m.Processes, p)
}

func makeRequest(r *status.Request, now time.Time) *Request {
	if r == nil {
		return nil
	}
	return &Request{Method: cut(r.Method), Path: cut(r.Path), ID: cut(r.ID), For: *milliseconds(max(0, now.Sub(r.Since))), Left: r.ClientLeft}
}

// cut returns at most mostText characters of a text.
func cut(text string) string {
	n := 0
	for i := range text {
		if n == mostText {
			return text[:i] + "..."
		}
		n++
	}
	return text
}

func seconds(now, since time.Time) float64 { return max(0, now.Sub(since).Seconds()) }

func milliseconds(d time.Duration) *float64 {
	f := float64(d.Microseconds()) / 1000
	return &f
}
