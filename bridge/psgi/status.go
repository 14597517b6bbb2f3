package psgi

import "github.com/pagi-go/pagi-bridge/bridge/pool"

// Status returns the state of the workers. Before lifespan.startup is complete there are none.
func (a *app) Status() pool.Status {
	if a.pool == nil {
		return pool.Status{}
	}
	return a.pool.Status()
}
