package site

import "github.com/pagi-go/pagi-bridge/internal/status"

// MountStatus describes a mount at one moment, and its processes where it has some. It is part of
// what "pagi-bridge status --json" prints.
type MountStatus = status.Mount

// Status describes every mount that has workers of its own, in the order of the site file. The
// method of that name of each Mount in All tells of the others, which are CGI mounts and proxies.
// Build must have been called.
func (s *Site) Status() (list []MountStatus) {
	for _, m := range s.All() {
		if now := m.Status(); now.Backend != nil && m.Kind != KindCGI && len(now.Upstreams) == 0 {
			list = append(list, now)
		}
	}
	return list
}

// Status describes the mount. Its site's Build must have been called.
func (m *Mount) Status() MountStatus {
	now := MountStatus{Mount: m.Name(), Source: m.Source, Kind: m.Kind}
	if m.drain != nil {
		now.Draining = m.drain.since()
	}
	if m.counted != nil {
		counts := m.counted.Responses()
		now.Responses = &counts
	}
	if app, ok := m.app.(interface{ Status() status.Backend }); ok {
		backend := app.Status()
		now.Backend = &backend
	}
	return now
}
