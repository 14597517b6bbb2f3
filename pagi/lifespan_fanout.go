package pagi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"sync"
)

// LifespanChild is one of several applications that share a lifespan scope.
type LifespanChild struct {
	// Name tells it from its siblings in messages: a mount's path, for example.
	Name string
	App  App
}

// FanOutLifespan answers a lifespan scope on behalf of children: a URL map, a
// router, a cascade. The children start side by side, each with a state map of
// its own; the maps are merged into scope.State in the order of the children.
// When one fails, those that had started are shut down and the failure names it.
func FanOutLifespan(ctx context.Context, scope *Scope, receive Receive, send Send, children []LifespanChild) error {
	runs := make([]*LifespanRun, len(children))
	startup := func(ctx context.Context) error {
		errs := make([]error, len(children))
		states := make([]map[string]any, len(children))
		var wg sync.WaitGroup
		for i, child := range children {
			wg.Go(func() {
				inner := scope.Clone()
				inner.State = maps.Clone(scope.State)
				if inner.State == nil {
					inner.State = map[string]any{}
				}
				states[i] = inner.State
				var err error
				if runs[i], err = StartLifespan(ctx, child.App, inner); err != nil {
					errs[i] = fmt.Errorf("%s: %w", child.Name, ownMessage(err))
				}
			})
		}
		wg.Wait()
		mergeState(scope.State, states)
		return errors.Join(errs...)
	}
	shutdown := func(ctx context.Context) error {
		errs := make([]error, len(children))
		var wg sync.WaitGroup
		for i, run := range runs {
			if run == nil {
				continue
			}
			wg.Go(func() {
				if err := run.Shutdown(ctx); err != nil {
					errs[i] = fmt.Errorf("%s: %w", children[i].Name, ownMessage(err))
				}
			})
		}
		wg.Wait()
		return errors.Join(errs...)
	}
	return ServeLifespan(ctx, receive, send, startup, shutdown)
}

// mergeState copies what each child has added to or changed in its copy of state
// into state, which may be nil.
func mergeState(state map[string]any, children []map[string]any) {
	if state == nil {
		return
	}
	before := maps.Clone(state)
	for _, child := range children {
		for key, value := range child {
			if old, had := before[key]; !had || !identical(old, value) {
				state[key] = value
			}
		}
	}
}

// identical reports whether a and b are the same value; values that cannot be
// compared are the same when they are the same reference.
func identical(a, b any) bool {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	switch {
	case !x.IsValid() || !y.IsValid():
		return x.IsValid() == y.IsValid()
	case x.Type() != y.Type():
		return false
	case x.Comparable() && y.Comparable():
		return a == b
	}
	switch x.Kind() {
	case reflect.Map, reflect.Func:
		return x.UnsafePointer() == y.UnsafePointer()
	case reflect.Slice:
		return x.UnsafePointer() == y.UnsafePointer() && x.Len() == y.Len()
	}
	return false
}
