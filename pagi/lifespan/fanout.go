package lifespan

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"sync"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Child is one of several applications that share a lifespan scope.
type Child struct {
	// Name identifies the child in messages: a mount's path, for example.
	Name string
	App  pagi.App
}

// FanOut answers a lifespan scope on behalf of children, for a URL map, a router or a cascade. The
// children start side by side, each with a state map of its own. FanOut merges the maps into
// scope.State in the order of the children. If a child fails, FanOut shuts down those that had
// started, and the failure names the child.
func FanOut(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send, children []Child) error {
	runs := make([]*Run, len(children))
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
				if runs[i], err = Start(ctx, child.App, inner); err != nil {
					errs[i] = fmt.Errorf("%s: %w", child.Name, OwnMessage(err))
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
					errs[i] = fmt.Errorf("%s: %w", children[i].Name, OwnMessage(err))
				}
			})
		}
		wg.Wait()
		return errors.Join(errs...)
	}
	return Serve(ctx, receive, send, startup, shutdown)
}

// mergeState copies the entries that each child has added or changed in its copy of state into
// state. state may be nil.
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

// identical reports whether a and b are the same value. Values that cannot be compared are
// identical if they are the same reference.
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
