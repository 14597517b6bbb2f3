package apps

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// Redirect sends every request elsewhere.
type Redirect struct {
	// To is the target: a URL, or a path on this host. It is required unless ToFunc
	// is set.
	To string `yaml:"to"`
	// ToFunc computes the target for the request at hand and takes the place of To.
	ToFunc func(scope *pagi.Scope) string `yaml:"-"`
	// Status is 301, 302, 303, 307 or 308; 0 means 302.
	Status int `yaml:"status"`
	// KeepPath appends the request's path below the mount to the target.
	KeepPath bool `yaml:"keep_path"`
	// DropQuery drops the request's query string, which is otherwise added to the target.
	DropQuery bool `yaml:"drop_query"`
}

func init() { parts.App[Redirect]("redirect", "to") }

// Check reports a missing target and a Status that is no redirect.
func (r *Redirect) Check() error {
	switch r.Status {
	case 0, http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return pagi.BadOption("status", "must be 301, 302, 303, 307 or 308, is %d", r.Status)
	}
	if r.To == "" && r.ToFunc == nil {
		return pagi.BadOption("to", "is missing: say where to redirect to")
	}
	return headerSafe("to", r.To)
}

// Serve answers with the redirect; an sse or websocket scope is declined with it.
func (r *Redirect) Serve(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
	if scope.Type == pagi.TypeLifespan {
		return pagi.Unsupported(scope)
	}
	to := r.To
	if r.ToFunc != nil {
		to = r.ToFunc(scope)
	}
	if r.KeepPath {
		to = addPath(to, scope)
	}
	if scope.QueryString != "" && !r.DropQuery {
		to = addQuery(to, scope.QueryString)
	}
	status := r.Status
	if status == 0 {
		status = http.StatusFound
	}
	return reply.Status(ctx, scope, send, status, "location", to)
}

// addPath appends the path below the mount, as the client sent it, to the path of a URL. It must
// not give a host to a target without one: browsers take two slashes in front, or a backslash, for
// the beginning of a host.
func addPath(to string, scope *pagi.Scope) string {
	rest, ok := strings.CutPrefix(scope.RawPath, scope.RootPath)
	if !ok || rest != "" && rest[0] != '/' || scope.RawPath == "" {
		rest = (&url.URL{Path: scope.Path}).EscapedPath()
	}
	rest = strings.ReplaceAll(rest, `\`, "%5C")
	end := len(to)
	if i := strings.IndexAny(to, "?#"); i >= 0 {
		end = i
	}
	base := strings.TrimSuffix(to[:end], "/")
	if base == "" {
		rest = "/" + strings.TrimLeft(rest, "/")
	}
	return base + rest + to[end:]
}

// addQuery appends query to the query of a URL, before its fragment.
func addQuery(to, query string) string {
	to, fragment, hasFragment := strings.Cut(to, "#")
	separator := "?"
	if strings.Contains(to, "?") {
		separator = "&"
	}
	to += separator + query
	if hasFragment {
		to += "#" + fragment
	}
	return to
}
