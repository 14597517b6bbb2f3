package middleware

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

// Rewrite changes the path of requests before the application sees them, or redirects the client. The
// first rule that matches counts. REQUEST_URI stays what the client has sent; the former path is the
// scope value scopekey.OriginalPath.
//
// Regular expressions are those of Go (RE2): they take linear time, whatever a client sends.
type Rewrite struct {
	// Rules are tried in their order. A regular expression in From that is wrong is an error of Check.
	Rules []RewriteRule `yaml:"rules"`
	// Redirect redirects for all rules, instead of changing the path.
	Redirect bool `yaml:"redirect"`
	// RedirectCode is the status of redirects: 301, 302, 303, 307 or 308. 0 means 301.
	RedirectCode int `yaml:"redirect_code"`
}

// RewriteRule is one rule. It has either From or Match.
type RewriteRule struct {
	// From is a path below the mount. The rule is for it and for all paths below, whose rest goes
	// behind To.
	From string `yaml:"from"`
	// Match is a regular expression for the path below the mount, decoded.
	Match string `yaml:"match" expand:"no"`
	// To is the new path. With Match, $1 or ${name} stands for what a group has matched. A query
	// behind "?" goes in front of the request's own; a "?" at the end drops that. The target of a
	// redirect may begin with https://HOST or http://HOST; otherwise it is below the mount.
	To string `yaml:"to" expand:"no"`
	// Redirect is the status of a redirect for this rule; 0 means what the Rewrite says.
	Redirect int `yaml:"redirect"`
}

func init() { parts.Middleware[Rewrite]("rewrite") }

// redirectCodes are the statuses that send a client elsewhere.
var redirectCodes = []int{http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect}

func checkRedirectCode(option string, code int) error {
	if code != 0 && !slices.Contains(redirectCodes, code) {
		return pagi.BadOption(option, "must be 301, 302, 303, 307 or 308, is %d", code)
	}
	return nil
}

// Check reports rules that cannot work.
func (m Rewrite) Check() error {
	errs := []error{checkRedirectCode("redirect_code", m.RedirectCode)}
	if len(m.Rules) == 0 {
		errs = append(errs, pagi.BadOption("rules", "is missing"))
	}
	for i, rule := range m.Rules {
		if err := rule.check(m.Redirect); err != nil {
			errs = append(errs, pagi.BadOption("rules", "rule %d: %w", i+1, err))
		}
	}
	return errors.Join(errs...)
}

func (r RewriteRule) check(redirects bool) error {
	if (r.From == "") == (r.Match == "") {
		return errors.New("needs either from or match")
	}
	if r.From != "" && !strings.HasPrefix(r.From, "/") {
		return pagi.BadOption("from", "%q must begin with a slash", r.From)
	}
	if _, err := regexp.Compile(r.Match); err != nil {
		return pagi.BadOption("match", "%w", err)
	}
	if err := errors.Join(checkRedirectCode("redirect", r.Redirect), checkValue("to", r.To)); err != nil {
		return err
	}
	if host := absoluteHost(r.To); host != "" {
		switch {
		case !redirects && r.Redirect == 0:
			return pagi.BadOption("to", "%q must be a path, unless the rule redirects", r.To)
		case strings.Contains(host, "$"):
			return pagi.BadOption("to", "%q must not take its host from the request", r.To)
		}
		return nil
	}
	if !strings.HasPrefix(r.To, "/") || strings.HasPrefix(r.To, "//") {
		return pagi.BadOption("to", "%q must begin with one slash", r.To)
	}
	return nil
}

// absoluteHost returns scheme and host of an absolute URL, or "".
func absoluteHost(to string) string {
	for _, scheme := range []string{"https://", "http://"} {
		if rest, is := strings.CutPrefix(to, scheme); is {
			end := strings.IndexAny(rest, "/?")
			if end < 0 {
				end = len(rest)
			}
			return to[:len(scheme)+end]
		}
	}
	return ""
}

// Wrap puts m around next.
func (m Rewrite) Wrap(next pagi.App) pagi.App {
	if err := m.Check(); err != nil {
		return wrap(m, next, nil)
	}
	rules := make([]rewriteRule, len(m.Rules))
	for i, r := range m.Rules {
		rules[i] = r.compile(m)
	}
	return wrap(m, next, func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		for i := range rules {
			path, query, ok := rules[i].apply(scope)
			switch {
			case !ok:
			case rules[i].redirect != 0:
				return reply.Status(ctx, scope, send, rules[i].redirect, "location", rules[i].location(scope, path, query))
			default:
				scope = scope.With(scopekey.OriginalPath, scope.Path)
				scope.Path, scope.QueryString = path, query
				return next.Serve(ctx, scope, receive, send)
			}
		}
		return next.Serve(ctx, scope, receive, send)
	})
}

// rewriteRule is a RewriteRule that is compiled.
type rewriteRule struct {
	from      string
	match     *regexp.Regexp // nil: it has from
	host      string         // scheme and host in front of a redirect's target
	to        string         // path
	query     string         // what goes in front of the request's query
	dropQuery bool
	redirect  int
}

func (r RewriteRule) compile(m Rewrite) rewriteRule {
	c := rewriteRule{from: strings.TrimSuffix(r.From, "/"), redirect: r.Redirect, host: absoluteHost(r.To)}
	if r.Match != "" {
		c.match = regexp.MustCompile(r.Match) // Check has compiled it
	}
	to, query, hasQuery := strings.Cut(strings.TrimPrefix(r.To, c.host), "?")
	c.to, c.query, c.dropQuery = to, query, hasQuery && query == ""
	if c.redirect == 0 && m.Redirect {
		c.redirect = m.RedirectCode
		if c.redirect == 0 {
			c.redirect = http.StatusMovedPermanently
		}
	}
	return c
}

// apply returns the new path and query of a request that the rule matches.
func (r *rewriteRule) apply(scope *pagi.Scope) (path, query string, ok bool) {
	added := r.query
	if r.match == nil {
		rest, below := strings.CutPrefix(scope.Path, r.from)
		if !below || rest != "" && rest[0] != '/' {
			return "", "", false
		}
		path = r.to
		if rest != "" {
			path = strings.TrimSuffix(path, "/") + rest
		}
	} else {
		groups := r.match.FindStringSubmatchIndex(scope.Path)
		if groups == nil {
			return "", "", false
		}
		path = string(r.match.ExpandString(nil, r.to, scope.Path, groups))
		if strings.Contains(added, "$") {
			added = r.expandQuery(scope.Path, groups)
		}
	}
	query = scope.QueryString
	switch {
	case r.dropQuery:
		query = ""
	case added != "" && query != "":
		query = added + "&" + query
	case added != "":
		query = added
	}
	return path, query, true
}

// expandQuery fills groups into the query, percent-encoded.
func (r *rewriteRule) expandQuery(path string, groups []int) string {
	escaped, places := "", make([]int, len(groups))
	for i := 0; i < len(groups); i += 2 {
		places[i], places[i+1] = -1, -1
		if groups[i] >= 0 {
			places[i] = len(escaped)
			escaped += url.QueryEscape(path[groups[i]:groups[i+1]])
			places[i+1] = len(escaped)
		}
	}
	return string(r.match.ExpandString(nil, r.query, escaped, places))
}

// location returns the target of a redirect. What the request has brought into it cannot lead to
// another host: a path begins with exactly one slash.
func (r *rewriteRule) location(scope *pagi.Scope, path, query string) string {
	if r.host == "" {
		path = scope.RootPath + path
	}
	path = "/" + strings.TrimLeft(path, `/\`)
	target := r.host + (&url.URL{Path: path}).EscapedPath()
	if query != "" {
		target += "?" + query
	}
	return target
}
