package apps

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
)

// Mount is one application's place in a URLMap.
type Mount struct {
	// Host limits the mount to requests for one host: a name, "*.example.com" for
	// every name below example.com, or "" for any. Case and port do not matter.
	Host string
	// Path is the prefix, matched at slash boundaries and without regard to a slash
	// at its end; "" and "/" are the root.
	Path string
	// App is called with Scope.Path below Path and Path at the end of RootPath.
	App pagi.App
}

// Name tells the mount from others in messages: its host and path.
func (m Mount) Name() string { return m.Host + or(m.Path, "/") }

// Place is equal for two mounts that match the same requests, however their hosts and paths are
// spelled. Only one of the two would ever be called.
func (m Mount) Place() string { return normalHost(m.Host) + trimSlash(m.Path) }

// URLMap gives each request to the application mounted at its host and path. A mount for exactly
// the request's host goes before one with a wildcard, a longer wildcard goes before a shorter one,
// and each of these before a mount for all hosts. Among the mounts of one host the longest path
// wins. When no mount of a host has the path, less specific hosts are tried.
//
// The lifespan scope goes to every application, each once; a failed startup names
// the mount.
type URLMap struct {
	Mounts []Mount
	// Default is called, with the scope unchanged, when no mount matches; nil
	// answers 404.
	Default pagi.App

	once  sync.Once
	index hostIndex
}

// Check reports a mount without an application, a path that does not begin with a
// slash, two mounts at one place, and what the applications themselves report.
func (u *URLMap) Check() error {
	var errs []error
	seen := map[string]bool{}
	for _, m := range u.Mounts {
		if err := m.Check(); err != nil {
			errs = append(errs, err)
			continue
		}
		if seen[m.Place()] {
			errs = append(errs, pagi.BadOption("mounts", "%s is mounted twice", m.Name()))
		}
		seen[m.Place()] = true
		if err := pagi.Check(m.App); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", m.Name(), err))
		}
	}
	if err := pagi.Check(u.Default); err != nil {
		errs = append(errs, fmt.Errorf("default: %w", err))
	}
	return errors.Join(errs...)
}

// Check reports a wrong host or path and a missing application. It does not call the Check of the
// application.
func (m Mount) Check() error {
	host := strings.TrimPrefix(m.Host, "*.")
	switch {
	case m.App == nil:
		return pagi.BadOption("mounts", "%s has no application", m.Name())
	case m.Path != "" && m.Path[0] != '/':
		return pagi.BadOption("path", "%q must begin with a slash", m.Path)
	case strings.ContainsAny(host, "*/ ") || m.Host == "*.":
		return pagi.BadOption("host", "%q must be a host name, or one with *. in front", m.Host)
	}
	return nil
}

// Serve passes the scope on.
func (u *URLMap) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	u.once.Do(u.prepare)
	if scope.Type == pagi.TypeLifespan {
		return lifespan.FanOut(ctx, scope, receive, send, u.children())
	}
	if m := u.index.find(scope); m != nil {
		if m.Path != "" {
			scope = scope.Mount(m.Path)
		}
		return m.App.Serve(ctx, scope, receive, send)
	}
	if u.Default != nil {
		return u.Default.Serve(ctx, scope, receive, send)
	}
	return reply.Status(ctx, scope, send, http.StatusNotFound)
}

func (u *URLMap) prepare() { u.index = newHostIndex(u.Mounts) }

// children are the applications for the lifespan scope. One that is mounted in
// several places appears once.
func (u *URLMap) children() []lifespan.Child {
	var all []lifespan.Child
	for _, m := range u.Mounts {
		all = append(all, lifespan.Child{Name: m.Name(), App: m.App})
	}
	if u.Default != nil {
		all = append(all, lifespan.Child{Name: "default", App: u.Default})
	}
	return distinct(all)
}

// distinct leaves out an application that came before. Functions cannot be compared, so all of them
// stay.
func distinct(all []lifespan.Child) []lifespan.Child {
	seen := map[pagi.App]bool{}
	return slices.DeleteFunc(all, func(c lifespan.Child) bool {
		if !reflect.ValueOf(c.App).Comparable() {
			return false
		}
		again := seen[c.App]
		seen[c.App] = true
		return again
	})
}

func trimSlash(path string) string { return strings.TrimRight(path, "/") }

// normalHost returns a host in lower case without port, brackets or a dot at its
// end.
func normalHost(host string) string {
	if strings.HasPrefix(host, "[") {
		inside, _, _ := strings.Cut(host[1:], "]")
		return strings.ToLower(inside)
	}
	if name, _, one := strings.Cut(host, ":"); one && strings.Count(host, ":") == 1 {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

func pathMatches(prefix, path string) bool {
	return strings.HasPrefix(path, prefix) && (len(path) == len(prefix) || path[len(prefix)] == '/')
}
