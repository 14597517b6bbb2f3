// Package parts is where a middleware or an application registers the name it has in site
// files. It does so beside its own declaration, in one line:
//
//	func init() { parts.Middleware[Head]("head") }
//
//	func init() { parts.App[Redirect]("redirect", "to") }
//
// Package site looks the names up. The parts need not know it, so that it may import them.
// The exported fields of the struct are the options, as package internal/option reads them.
package parts

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sync"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Kind is an application that a mount of a site names by a key of its own.
type Kind struct {
	// Main is the option that the key's own value stands for; "" where the value is no
	// option.
	Main string
	// New returns a pointer to the application's struct.
	New func() pagi.App
}

// table holds what is registered by name.
type table[T any] struct {
	mu    sync.RWMutex
	parts map[string]T
}

// add panics when the name is taken: two packages would fight over it.
func (t *table[T]) add(function, name string, part T) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, taken := t.parts[name]; taken {
		panic(fmt.Sprintf("%s: %q is registered already", function, name))
	}
	if t.parts == nil {
		t.parts = map[string]T{}
	}
	t.parts[name] = part
}

func (t *table[T]) get(name string) (part T, ok bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	part, ok = t.parts[name]
	return part, ok
}

func (t *table[T]) names() []string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.Sorted(maps.Keys(t.parts))
}

var (
	kinds      table[Kind]
	goApps     table[func() pagi.App]
	middleware table[func() pagi.Middleware]
	// middlewareNames has the name of each Go type.
	middlewareNames table[string]
)

// Middleware registers the middleware T. A field Logger of type *slog.Logger is set by the site, and
// so is a field Environment of type string with the tag yaml:"-". It panics when the name is taken.
func Middleware[T any, P interface {
	*T
	pagi.Middleware
}](name string) {
	middleware.add("parts.Middleware", name, func() pagi.Middleware { return P(new(T)) })
	middlewareNames.add("parts.Middleware", reflect.TypeFor[T]().String(), name)
}

// NameOf returns the name under which the type of m, or the type that it points to, is registered by
// Middleware; "" if it is not.
func NameOf(m pagi.Middleware) string {
	t := reflect.TypeOf(m)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	name, _ := middlewareNames.get(t.String())
	return name
}

// App registers the application T as a kind of mount. main is the option that the value of
// the mount's key stands for: "root" in "file: public". A field Logger of type *slog.Logger
// is set by the site. It panics when the name is taken.
func App[T any, P interface {
	*T
	pagi.App
}](name, main string) {
	kinds.add("parts.App", name, Kind{Main: main, New: func() pagi.App { return P(new(T)) }})
}

// AddMiddleware registers a middleware that a function makes. function is the caller's
// name, for the panic when the name is taken.
func AddMiddleware(function, name string, make func() pagi.Middleware) {
	middleware.add(function, name, make)
}

// AddGoApp registers an application that mounts name by the key "go". function is the
// caller's name, for the panic when the name is taken.
func AddGoApp(function, name string, make func() pagi.App) { goApps.add(function, name, make) }

// NewMiddleware returns a new middleware; nil where there is none of the name.
func NewMiddleware(name string) pagi.Middleware {
	if make, ok := middleware.get(name); ok {
		return make()
	}
	return nil
}

// NewGoApp returns a new application that AddGoApp has registered; nil where there is none
// of the name.
func NewGoApp(name string) pagi.App {
	if make, ok := goApps.get(name); ok {
		return make()
	}
	return nil
}

// KindOf returns the application registered as a kind of mount.
func KindOf(name string) (Kind, bool) { return kinds.get(name) }

// MiddlewareNames returns the names of all middleware, sorted.
func MiddlewareNames() []string { return middleware.names() }

// GoAppNames returns the names that a mount may give to the key "go", sorted.
func GoAppNames() []string { return goApps.names() }

// KindNames returns the names of the applications that are kinds of mounts, sorted.
func KindNames() []string { return kinds.names() }
