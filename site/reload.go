package site

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"slices"
)

// reloader is an application that can load its code again while it serves.
type reloader interface {
	Reload(ctx context.Context) error
}

var errNotStarted = errors.New("the applications are not running")

// Reload makes every mount that can do so load its code again, one after another: PSGI
// applications, and Go applications with a method Reload(context.Context) error. A mount that fails
// keeps its old code, and the others are still reloaded; the error names each failure. The site
// file is not read again.
func (s *Site) Reload(ctx context.Context) error {
	if s.root == nil {
		return errNotStarted
	}
	return s.reload(ctx, func(*Mount) bool { return true })
}

// Resize changes the number of workers by n, to one at least, for every PSGI mount and every Go
// application with a method Resize(int) int. It returns the new number by mount.
func (s *Site) Resize(n int) map[string]int {
	workers := map[string]int{}
	for _, m := range s.All() {
		if app, ok := m.app.(interface{ Resize(int) int }); ok {
			workers[m.Name()] = app.Resize(n)
		}
	}
	return workers
}

// SameFile reports whether two sites were made of the same files with the same text.
func (s *Site) SameFile(other *Site) bool {
	return slices.EqualFunc(s.sources, other.sources, func(a, b sourceFile) bool {
		return a.name == b.name && bytes.Equal(a.text, b.text)
	})
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
