package site

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
)

// reloader is an application that can load its code anew while it serves.
type reloader interface {
	Reload(ctx context.Context) error
}

var errNotStarted = errors.New("the applications are not running")

// Reload makes every mount that can load its code anew, one after another: PSGI
// applications, and Go applications with a method Reload(context.Context) error. A
// mount that fails goes on with the code it has, and the others are reloaded all the
// same; the error names each. The site file is not read again.
func (s *Site) Reload(ctx context.Context) error {
	if s.root == nil {
		return errNotStarted
	}
	var errs []error
	for _, m := range s.Mounts {
		if app, ok := m.app.(reloader); ok {
			if err := app.Reload(ctx); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", m.Name(), err))
			}
		}
	}
	return errors.Join(errs...)
}

// Resize has every PSGI mount, or Go application with a method Resize(int) int, served by
// n workers more, or -n fewer, but one at least. It returns how many there are to be, by
// mount.
func (s *Site) Resize(n int) map[string]int {
	workers := map[string]int{}
	for _, m := range s.Mounts {
		if app, ok := m.app.(interface{ Resize(int) int }); ok {
			workers[m.Name()] = app.Resize(n)
		}
	}
	return workers
}

// SameFile reports whether two sites were made of the same text.
func (s *Site) SameFile(other *Site) bool {
	return s.File == other.File && bytes.Equal(s.source, other.source)
}

// NeedRestart returns the names of the settings that differ and that a running gateway
// cannot change.
func (s *Settings) NeedRestart(next *Settings) []string {
	var names []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Settings]()) {
		old, now := reflect.ValueOf(s).Elem().FieldByIndex(f.Index), reflect.ValueOf(next).Elem().FieldByIndex(f.Index)
		if f.Tag.Get("change") == "restart" && !reflect.DeepEqual(old.Interface(), now.Interface()) {
			names = append(names, f.Tag.Get("yaml"))
		}
	}
	return names
}
