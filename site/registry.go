package site

import (
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// registry maps names in a site file to constructors.
var registry = struct {
	sync.RWMutex
	goApps     map[string]func() pagi.App
	middleware map[string]func() pagi.Middleware
}{
	goApps:     map[string]func() pagi.App{},
	middleware: map[string]func() pagi.Middleware{},
}

// RegisterApp makes an application available to site files as "go: name". make is
// called for every mount; where it returns a pointer to a struct, the struct's
// exported fields are options of the mount, by their yaml tags. An application
// that is a pagi.Checker is checked.
//
//	site.RegisterApp("hello", func() pagi.App { return &Hello{Greeting: "Hi"} })
//
// It panics when the name is taken: two packages would fight over it.
func RegisterApp(name string, make func() pagi.App) {
	registry.Lock()
	defer registry.Unlock()
	if _, taken := registry.goApps[name]; taken {
		panic(fmt.Sprintf("site.RegisterApp: %q is registered already", name))
	}
	registry.goApps[name] = make
}

// RegisterMiddleware makes a middleware available to the middleware lists of site
// files under name. make returns a pointer to a struct whose exported fields are
// the options; otherwise it works as RegisterApp does.
func RegisterMiddleware(name string, make func() pagi.Middleware) {
	registry.Lock()
	defer registry.Unlock()
	if _, taken := registry.middleware[name]; taken {
		panic(fmt.Sprintf("site.RegisterMiddleware: %q is registered already", name))
	}
	registry.middleware[name] = make
}

// newApp returns a new application called name and all names there are.
func newApp(name string) (app pagi.App, names []string) {
	registry.RLock()
	defer registry.RUnlock()
	if make, ok := registry.goApps[name]; ok {
		app = make()
	}
	return app, slices.Sorted(maps.Keys(registry.goApps))
}

func newMiddleware(name string) (m pagi.Middleware, names []string) {
	registry.RLock()
	defer registry.RUnlock()
	if make, ok := registry.middleware[name]; ok {
		m = make()
	}
	return m, slices.Sorted(maps.Keys(registry.middleware))
}
