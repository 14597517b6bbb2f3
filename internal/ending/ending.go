// Package ending holds how something has ended, and runs clean-up functions once.
//
// It may import package pagi, for the error of a panic.
package ending

import (
	"errors"
	"runtime/debug"
	"sync"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Once is an end that comes once, described by a T. Its zero value has not come. All methods are safe
// for concurrent use.
type Once[T any] struct {
	mu     sync.Mutex
	end    *T // nil: not yet
	funcs  []func(T)
	run    sync.Once
	failed error // the panics of funcs, once they have run
}

// Note notes the end. It reports whether this was the first.
func (o *Once[T]) Note(end T) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.end != nil {
		return false
	}
	o.end = &end
	return true
}

// End returns the end; ok is false if it has not come.
func (o *Once[T]) End() (end T, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.end == nil {
		return end, false
	}
	return *o.end, true
}

// On has f called by Run. If the end was noted already, it calls f at once.
func (o *Once[T]) On(f func(T)) {
	o.mu.Lock()
	if o.end == nil {
		o.funcs = append(o.funcs, f)
		o.mu.Unlock()
		return
	}
	end := *o.end
	o.mu.Unlock()
	f(end)
}

// Run calls the functions, in the order of registration, whatever the others do. Further calls wait
// until they have run, so a function must not call Run. It returns their panics, each as a
// *pagi.PanicError. The end must have been noted.
func (o *Once[T]) Run() error {
	o.run.Do(func() {
		o.mu.Lock()
		end, funcs := *o.end, o.funcs
		o.funcs = nil
		o.mu.Unlock()
		var failed []error
		for _, f := range funcs {
			failed = append(failed, Guard(func() error { f(end); return nil }))
		}
		o.failed = errors.Join(failed...)
	})
	return o.failed
}

// Guard calls f, and returns its error, or its panic as a *pagi.PanicError.
func Guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &pagi.PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	return f()
}
