package site

import "github.com/pagi-go/pagi-bridge/bridge/pool"

// MountStatus is what the workers behind a mount are doing.
type MountStatus struct {
	Mount string // its host and path
	pool.Status
}

// Status tells of every mount that has workers of its own, in the order of the site
// file. Build must have been called.
func (s *Site) Status() (list []MountStatus) {
	for _, m := range s.Mounts {
		if app, ok := m.app.(interface{ Status() pool.Status }); ok {
			list = append(list, MountStatus{m.Name(), app.Status()})
		}
	}
	return list
}
