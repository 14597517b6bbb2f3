package apps_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/internal/routetree"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// tableOf200 are routes like those of the interface of a large site: 200 of them, of which 60 are
// without parameters.
func tableOf200() (routes [][2]string) {
	for _, base := range []string{"/users/{user}", "/orgs/{org}", "/repos/{owner}/{repo}", "/gists/{id}", "/teams/{team}"} {
		for _, method := range []string{"GET", "PATCH", "DELETE"} {
			routes = append(routes, [2]string{method, base})
		}
		for _, list := range []string{"events", "members", "hooks", "issues", "labels", "keys", "repos", "followers"} {
			routes = append(routes, [2]string{"GET", base + "/" + list}, [2]string{"POST", base + "/" + list}, [2]string{"GET", base + "/" + list + "/{number}"})
		}
		routes = append(routes, [2]string{"GET", base + "/issues/{number}/comments"})
	}
	for _, a := range []string{"user", "search", "feeds", "emojis", "events", "meta", "licenses", "markdown", "notifications", "applications"} {
		for _, b := range []string{"", "/repos", "/keys", "/issues", "/subscriptions", "/emails"} {
			routes = append(routes, [2]string{"GET", "/" + a + b})
		}
	}
	return routes
}

// lookups are the paths that the benchmarks look up.
var lookups = []struct{ name, path string }{
	{"text", "/notifications/subscriptions"},
	{"oneParameter", "/users/ann"},
	{"fourParameters", "/repos/ann/project/issues/1347/comments"},
}

func TestTheTableHas200Routes(t *testing.T) {
	if n := len(tableOf200()); n != 200 {
		t.Errorf("there are %d", n)
	}
}

func BenchmarkRouterLookup(b *testing.B) {
	tree := &routetree.Tree[int]{}
	for i, r := range tableOf200() {
		p, err := routetree.Parse(r[1])
		if err != nil {
			b.Fatal(err)
		}
		tree.Add(p, r[0], i)
	}
	for _, l := range lookups {
		b.Run(l.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var m routetree.Match[int]
				if !tree.Find(&routetree.Path{Text: l.path}, [3]string{"GET"}, &m) {
					b.Fatal("not found")
				}
			}
		})
	}
}

func BenchmarkChiLookup(b *testing.B) {
	mux := chi.NewMux()
	for _, r := range tableOf200() {
		mux.MethodFunc(r[0], r[1], func(http.ResponseWriter, *http.Request) {})
	}
	rctx := chi.NewRouteContext()
	for _, l := range lookups {
		b.Run(l.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				rctx.Reset()
				if !mux.Match(rctx, "GET", l.path) {
					b.Fatal("not found")
				}
			}
		})
	}
}

func BenchmarkRouterServe(b *testing.B) {
	r := &apps.Router{}
	app := pagi.AppFunc(func(context.Context, *pagi.Scope, pagi.Receive, pagi.Send) error { return nil })
	for _, route := range tableOf200() {
		r.Handle(route[0], route[1], app)
	}
	for _, l := range lookups {
		scope := &pagi.Scope{Type: pagi.TypeHTTP, Method: "GET", Path: l.path, RawPath: l.path}
		b.Run(l.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := r.Serve(b.Context(), scope, nil, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkChiServe(b *testing.B) {
	mux := chi.NewMux()
	for _, r := range tableOf200() {
		mux.MethodFunc(r[0], r[1], func(http.ResponseWriter, *http.Request) {})
	}
	for _, l := range lookups {
		req, w := httptest.NewRequest("GET", l.path, strings.NewReader("")), httptest.NewRecorder()
		b.Run(l.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				mux.ServeHTTP(w, req)
			}
		})
	}
}
