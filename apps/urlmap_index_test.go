package apps

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// mountByTrying finds the mount of a request as the documentation of URLMap says it: it tries all of them.
func mountByTrying(mounts []Mount, host, path string) (found *Mount) {
	rank := func(m *Mount) [2]int {
		switch host := normalHost(m.Host); {
		case host == "":
			return [2]int{2}
		case host[0] == '*':
			return [2]int{1, -len(host)}
		}
		return [2]int{}
	}
	matches := func(m *Mount) bool {
		pattern := normalHost(m.Host)
		ending, wild := strings.CutPrefix(pattern, "*")
		isHost := pattern == "" || pattern == host || wild && len(host) > len(ending) && strings.HasSuffix(host, ending)
		return isHost && pathMatches(trimSlash(m.Path), path)
	}
	order := func(a, b *Mount) int {
		x, y := rank(a), rank(b)
		return cmp.Or(cmp.Compare(x[0], y[0]), cmp.Compare(x[1], y[1]), cmp.Compare(len(trimSlash(b.Path)), len(trimSlash(a.Path))))
	}
	for i := range mounts {
		if matches(&mounts[i]) && (found == nil || order(&mounts[i], found) < 0) {
			found = &mounts[i]
		}
	}
	return found
}

func TestTheIndexFindsWhatTryingAllMountsFinds(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(all ...string) string { return all[r.IntN(len(all))] }
	somePath := func() (path string) {
		for range r.IntN(4) {
			path += pick("/", "/a", "/b", "/ab", "/a/b")
		}
		return path
	}
	found := 0
	for range 3000 {
		var mounts []Mount
		for i := range r.IntN(8) {
			app := &NotFound{Body: fmt.Sprint(i)}
			mounts = append(mounts, Mount{Host: pick("", "", "x.org", "X.org:80", "*.x.org", "*.org", "*.y.x.org"), Path: somePath(), App: app})
		}
		index := newHostIndex(mounts)
		for range 8 {
			host, path := pick("", "x.org", "y.x.org", "z.y.x.org", "org", "x.org.", "[::1]:80"), pick(somePath(), somePath(), "*", "/ab/b/ab/")
			scope := &pagi.Scope{Type: pagi.TypeHTTP, Path: path, Headers: pagi.Headers{{Name: "host", Value: host}}}
			got, want := index.find(scope), mountByTrying(mounts, normalHost(host), path)
			if (got == nil) != (want == nil) || got != nil && got.App != want.App {
				t.Fatalf("%q %q among %+v: %+v, want %+v", host, path, mounts, got, want)
			}
			if got != nil {
				found++
				if want := trimSlash(got.Path); got.Path != want {
					t.Fatalf("the path %q has a slash at its end", got.Path)
				}
			}
		}
	}
	if found < 5000 {
		t.Errorf("only %d requests had a mount", found)
	}
}

func TestALookupIsBoundedByTheLongestPathOfAMount(t *testing.T) {
	var mounts []Mount
	for i := range 1000 {
		mounts = append(mounts, Mount{Path: fmt.Sprintf("/section-%d", i), App: &NotFound{}})
	}
	slices.Reverse(mounts)
	index := newHostIndex(append(mounts, Mount{Path: "/", App: &NotFound{}}))
	scope := &pagi.Scope{Type: pagi.TypeHTTP, Path: strings.Repeat("/", 1<<20)}
	if m := index.find(scope); m == nil || m.Path != "" {
		t.Errorf("a long path: %+v", m)
	}
	if n := testing.AllocsPerRun(100, func() { index.find(scope) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkURLMap(b *testing.B) {
	for _, n := range []int{1, 64, 1000} {
		mounts := []Mount{{Path: "/", App: &NotFound{}}}
		for i := range n - 1 {
			mounts = append(mounts, Mount{Path: fmt.Sprintf("/section-%d", i), App: &NotFound{}})
		}
		index := newHostIndex(mounts)
		for _, path := range []string{"/", "/a/page/of/the/site.html"} {
			scope := &pagi.Scope{Type: pagi.TypeHTTP, Path: path}
			b.Run(fmt.Sprintf("%d mounts/%s", n, path), func(b *testing.B) {
				for b.Loop() {
					index.find(scope)
				}
			})
		}
	}
}
