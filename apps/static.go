package apps

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/lifespan"
)

// Static is a middleware that answers requests with files, in front of an application that makes
// everything else. It serves GET and HEAD; other methods and WebSockets go to the application.
type Static struct {
	// Files has the directory and the other options of File.
	Files File `yaml:",inline"`
	// Path lists the paths that are files, each with all below it; none means every path.
	Path []string `yaml:"path"`
	// Strip looks the path up without the entry of Path in front: with the path /static, the file of
	// /static/a.css is a.css below the directory.
	Strip bool `yaml:"strip"`
	// Match decides in place of Path. It returns the path to look up, and whether it is a file at all.
	Match func(path string) (file string, ok bool) `yaml:"-"`
	// PassThrough lets the application answer where there is no file, instead of 404.
	PassThrough bool `yaml:"pass_through"`
}

func init() { parts.Middleware[Static]("static") }

// Check reports what File.Check reports, and paths that do not begin with a slash.
func (m *Static) Check() error {
	errs := []error{m.Files.Check()}
	for _, p := range m.Path {
		if !strings.HasPrefix(p, "/") {
			errs = append(errs, pagi.BadOption("path", "%q must begin with a slash", p))
		}
	}
	return errors.Join(errs...)
}

// Wrap puts m around next.
func (m *Static) Wrap(next pagi.App) pagi.App {
	if err := m.Check(); err != nil {
		return lifespan.Broken(err)
	}
	return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Type != pagi.TypeHTTP && scope.Type != pagi.TypeSSE || scope.Method != http.MethodGet && scope.Method != http.MethodHead {
			return next.Serve(ctx, scope, receive, send)
		}
		file, ok := m.lookUp(scope)
		if !ok {
			return next.Serve(ctx, scope, receive, send)
		}
		if !m.PassThrough {
			return m.Files.Serve(ctx, file, receive, send)
		}
		a := attempt{send: send, catch: func(status int) bool { return status == http.StatusNotFound }}
		if err := m.Files.Serve(ctx, file, receive, a.event); err != nil || !a.caught {
			return err
		}
		return next.Serve(ctx, scope, receive, send)
	})
}

// lookUp returns the scope for which File is called.
func (m *Static) lookUp(scope *pagi.Scope) (file *pagi.Scope, ok bool) {
	if m.Match != nil {
		path, ok := m.Match(scope.Path)
		if path == scope.Path || !ok {
			return scope, ok
		}
		file = scope.Clone()
		file.Path = path
		return file, true
	}
	if len(m.Path) == 0 {
		return scope, true
	}
	i := slices.IndexFunc(m.Path, func(p string) bool {
		p = strings.TrimSuffix(p, "/")
		return pathMatches(p, scope.Path)
	})
	if i < 0 {
		return nil, false
	}
	if !m.Strip {
		return scope, true
	}
	return scope.Mount(strings.TrimSuffix(m.Path[i], "/")), true
}
