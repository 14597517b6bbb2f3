package psgi

import (
	"context"
	"errors"
)

// Reload replaces the workers by new ones, which load the application anew, without
// failing or holding up a request; pool.Pool.Reload tells how. When the application
// cannot be loaded the old workers go on and the error has Perl's message. It must
// not be called before lifespan.startup is complete.
func (a *app) Reload(ctx context.Context) error {
	if a.pool == nil {
		return errors.New("psgi: the workers were not started")
	}
	err := a.pool.Reload(ctx)
	if a.banner != nil {
		a.banner.set(err)
	}
	return err
}

// Resize has the application be served by n workers more, or -n fewer; see
// pool.Pool.Resize. It returns how many there are to be, 0 where they were not started.
func (a *app) Resize(n int) int {
	if a.pool == nil {
		return 0
	}
	return a.pool.Resize(n)
}
