package site

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// resizer is an application whose number of workers can be changed.
type resizer interface {
	// Resize changes the number of workers by n, to one at least, and returns the new one.
	Resize(n int) int
}

// ReloadMount has the mount of a name load its code again, as Reload does for all.
func (s *Site) ReloadMount(ctx context.Context, name string) error {
	if s.root == nil {
		return errNotStarted
	}
	m, err := steerable[reloader](s, name, "can load its code again")
	if err != nil {
		return err
	}
	return s.reload(ctx, func(other *Mount) bool { return other == m })
}

// Scale gives the mount of a name n workers, and returns how many it has then. The change lasts until the site is replaced.
func (s *Site) Scale(name string, n int) (int, error) {
	if s.root == nil {
		return 0, errNotStarted
	}
	if n < 1 {
		return 0, fmt.Errorf("a mount has at least one worker, not %d", n)
	}
	m, err := steerable[resizer](s, name, "has a number of workers that can be changed")
	if err != nil {
		return 0, err
	}
	app := m.app.(resizer)
	now := app.Resize(0)
	if now == 0 {
		return 0, fmt.Errorf("the workers of %s are not running", name)
	}
	return app.Resize(n - now), nil
}

// steerable returns the mount of a name, whose application must have the methods of A. what says what those are for.
func steerable[A any](s *Site, name, what string) (*Mount, error) {
	var names []string
	for _, m := range s.All() {
		_, can := m.app.(A)
		switch {
		case m.Name() == name && can:
			return m, nil
		case m.Name() == name:
			return nil, fmt.Errorf("no application at %s %s", name, what)
		case can:
			names = append(names, m.Name())
		}
	}
	if names == nil {
		return nil, fmt.Errorf("there is no mount %s, and no other one %s", name, what)
	}
	slices.Sort(names)
	return nil, fmt.Errorf("there is no mount %s; %s: %s", name, what, strings.Join(names, ", "))
}
