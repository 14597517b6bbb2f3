package psgi

import (
	"context"
	"errors"
)

// Reload replaces the workers by new ones, which load the application again. No request fails or is
// held up; see pool.Pool.Reload. If the application cannot be loaded, the old workers go on and the
// error has Perl's message. It must not be called before lifespan.startup is complete.
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

// Resize changes the number of workers by n; see pool.Pool.Resize. It returns the new number, or 0
// if the workers were not started.
func (a *app) Resize(n int) int {
	if a.pool == nil {
		return 0
	}
	return a.pool.Resize(n)
}
