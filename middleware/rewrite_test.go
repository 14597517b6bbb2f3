package middleware_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/middleware"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

func ExampleRewrite() {
	app := pagi.AppFunc(func(_ context.Context, scope *pagi.Scope, _ pagi.Receive, _ pagi.Send) error {
		fmt.Printf("%s %q\n", scope.Path, scope.QueryString)
		return nil
	})
	m := middleware.Rewrite{Rules: []middleware.RewriteRule{
		{From: "/docs", To: "/manual"},
		{Match: `^/user/(\d+)$`, To: "/users?id=$1"},
	}}
	for _, path := range []string{"/docs/intro", "/user/7", "/else"} {
		_ = m.Wrap(app).Serve(context.Background(), &pagi.Scope{Type: pagi.TypeHTTP, Path: path}, nil, nil)
	}
	// Output:
	// /manual/intro ""
	// /users "id=7"
	// /else ""
}

func TestRewrite(t *testing.T) {
	type rule = middleware.RewriteRule
	for name, tc := range map[string]struct {
		rule  rule
		asked string
		want  string // "" means that nothing changes
	}{
		"a path":                            {rule{From: "/old", To: "/new"}, "/old", "/new"},
		"below a path":                      {rule{From: "/old", To: "/new"}, "/old/a/b", "/new/a/b"},
		"beside a path":                     {rule{From: "/old", To: "/new"}, "/older", ""},
		"a path with slashes at both ends":  {rule{From: "/old/", To: "/new/"}, "/old/a", "/new/a"},
		"every path":                        {rule{From: "/", To: "/new"}, "/a", "/new/a"},
		"the query stays":                   {rule{From: "/old", To: "/new"}, "/old?a=1", "/new?a=1"},
		"a query goes in front":             {rule{From: "/old", To: "/new?b=2"}, "/old?a=1", "/new?b=2&a=1"},
		"a query where there was none":      {rule{From: "/old", To: "/new?b=2"}, "/old", "/new?b=2"},
		"the query is dropped":              {rule{From: "/old", To: "/new?"}, "/old?a=1", "/new"},
		"groups":                            {rule{Match: `^/(\w+)/(?P<id>\d+)$`, To: "/${id}/$1"}, "/a/7", "/7/a"},
		"a group that has matched nothing":  {rule{Match: `^/a(/b)?$`, To: "/x$1"}, "/a", "/x"},
		"a regular expression in between":   {rule{Match: `/b/`, To: "/x"}, "/a/b/c", "/x"},
		"a group in the query is encoded":   {rule{Match: `^/(.*)$`, To: "/s?q=$1"}, "/a&b=c%20d", "/s?q=a%26b%3Dc+d"},
		"what does not match":               {rule{Match: `^/b`, To: "/x"}, "/a/b", ""},
		"an expression that takes for ever": {rule{Match: `^(a+)+$`, To: "/x"}, "/" + strings.Repeat("a", 5000), ""},
	} {
		path, query, _ := strings.Cut(tc.asked, "?")
		want, original := tc.want, any(path)
		if want == "" {
			want, original = tc.asked, nil
		}
		m := middleware.Rewrite{Rules: []rule{{From: "/never", To: "/n"}, tc.rule, {From: "/", To: "/second"}}}
		if tc.want == "" {
			m.Rules = m.Rules[:2]
		}
		if err := m.Check(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		app := pagi.AppFunc(func(ctx context.Context, s *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
			got := s.Path
			if s.QueryString != "" {
				got += "?" + s.QueryString
			}
			if diff := cmp.Diff(want, got); diff != "" || s.Value(scopekey.OriginalPath) != original {
				t.Errorf("%s: %s, original %v", name, diff, s.Value(scopekey.OriginalPath))
			}
			return nil
		})
		decoded := strings.ReplaceAll(path, "%20", " ")
		if original != nil {
			original = decoded
		}
		scope := &pagi.Scope{Type: pagi.TypeHTTP, RootPath: "/m", Path: decoded, QueryString: query}
		if err := m.Wrap(app).Serve(t.Context(), scope, nil, nil); err != nil {
			t.Error(err)
		}
	}
}

func TestRewriteRedirects(t *testing.T) {
	type rule = middleware.RewriteRule
	for name, tc := range map[string]struct {
		m      middleware.Rewrite
		asked  string
		status int
		want   string
	}{
		"of one rule":                    {middleware.Rewrite{Rules: []rule{{From: "/old", To: "/new", Redirect: 308}}}, "/old/a?b", 308, "/m/new/a?b"},
		"of all rules":                   {middleware.Rewrite{Redirect: true, Rules: []rule{{From: "/old", To: "/new"}}}, "/old", 301, "/m/new"},
		"with another status":            {middleware.Rewrite{Redirect: true, RedirectCode: 302, Rules: []rule{{From: "/old", To: "/new"}}}, "/old", 302, "/m/new"},
		"to another host":                {middleware.Rewrite{Rules: []rule{{Match: "^/(.*)$", To: "https://example.org/x/$1", Redirect: 301}}}, "/a b", 301, "https://example.org/x/a%20b"},
		"to another host without a path": {middleware.Rewrite{Rules: []rule{{From: "/", To: "https://example.org", Redirect: 301}}}, "/a", 301, "https://example.org/a"},
		"a line break is encoded":        {middleware.Rewrite{Rules: []rule{{Match: "(?s)^/(.*)$", To: "/x/$1", Redirect: 301}}}, "/a\r\nset-cookie: b", 301, "/m/x/a%0D%0Aset-cookie:%20b"},
		"no way to another host":         {middleware.Rewrite{Rules: []rule{{Match: "^/go/(.*)$", To: "/$1", Redirect: 301}}}, "/go//evil.example", 301, "/m//evil.example"},
		"no way to another host at /":    {middleware.Rewrite{Rules: []rule{{Match: "^/go/(.*)$", To: "/$1", Redirect: 301}}}, "!/go//evil.example", 301, "/evil.example"},
		"no way by a backslash":          {middleware.Rewrite{Rules: []rule{{Match: "^/go/(.*)$", To: "/$1", Redirect: 301}}}, `!/go/\evil.example`, 301, "/evil.example"},
		"no way through the host's name": {middleware.Rewrite{Rules: []rule{{Match: "^/go(.*)$", To: "https://example.org$1", Redirect: 301}}}, "/go.evil.example", 0, ""},
	} {
		root := "/m"
		if strings.HasPrefix(tc.asked, "!") {
			root = ""
		}
		path, query, _ := strings.Cut(strings.TrimPrefix(tc.asked, "!"), "?")
		if tc.status == 0 {
			checkFails(t, tc.m, `rules: rule 1: to: "https://example.org$1" must not take its host from the request`)
			continue
		}
		res := pagitest.New(tc.m.Wrap(hello)).Get("/", pagitest.Edit(func(s *pagi.Scope) { s.Path, s.QueryString, s.RootPath = path, query, root }))
		if res.Err != nil || res.Status != tc.status || res.Header("location") != tc.want {
			t.Errorf("%s: %d %q, want %q; %v", name, res.Status, res.Header("location"), tc.want, res.Err)
		}
	}
}

func TestRewriteOptions(t *testing.T) {
	type rule = middleware.RewriteRule
	for want, r := range map[string]rule{
		`rules: rule 1: needs either from or match`:                                 {To: "/x"},
		`rules: rule 1: from: "x" must begin with a slash`:                          {From: "x", To: "/x"},
		"rules: rule 1: match: error parsing regexp: missing closing ): `(`":        {Match: "(", To: "/x"},
		`rules: rule 1: to: "x" must begin with one slash`:                          {From: "/x", To: "x"},
		`rules: rule 1: to: "//x" must begin with one slash`:                        {From: "/x", To: "//x"},
		`rules: rule 1: to: "https://x/" must be a path, unless the rule redirects`: {From: "/x", To: "https://x/"},
		`rules: rule 1: redirect: must be 301, 302, 303, 307 or 308, is 200`:        {From: "/x", To: "/y", Redirect: 200},
		`rules: rule 1: to: "/a\r\nb" must not contain control characters`:          {From: "/x", To: "/a\r\nb"},
	} {
		checkFails(t, middleware.Rewrite{Rules: []rule{r}}, want)
	}
	checkFails(t, middleware.Rewrite{}, "rules: is missing")
	checkFails(t, middleware.Rewrite{Rules: []rule{{From: "/a", To: "/b"}}, RedirectCode: 200}, "redirect_code: must be 301, 302, 303, 307 or 308, is 200")
}
