package psgi

import "github.com/pagi-go/pagi-bridge/bridge/pool"

// Status tells what the workers are doing. Before lifespan.startup is complete there
// are none.
func (a *app) Status() pool.Status {
	if a.pool == nil {
		return pool.Status{}
	}
	return a.pool.Status()
}
