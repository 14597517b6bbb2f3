package apps

import (
	"context"
	"net/http"
	"strings"

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
	// DropQuery leaves the request's query string behind; else it is added to the
	// target.
	DropQuery bool `yaml:"drop_query"`
}

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
	if scope.QueryString != "" && !r.DropQuery {
		to = addQuery(to, scope.QueryString)
	}
	status := r.Status
	if status == 0 {
		status = http.StatusFound
	}
	return reply.Status(ctx, scope, send, status, "location", to)
}

// addQuery puts query at the end of a URL's own, before its fragment.
func addQuery(url, query string) string {
	url, fragment, hasFragment := strings.Cut(url, "#")
	separator := "?"
	if strings.Contains(url, "?") {
		separator = "&"
	}
	url += separator + query
	if hasFragment {
		url += "#" + fragment
	}
	return url
}
