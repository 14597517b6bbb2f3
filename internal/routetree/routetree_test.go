package routetree_test

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/internal/routetree"
)

func parse(t testing.TB, text string) *routetree.Pattern {
	t.Helper()
	p, err := routetree.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// lookup returns the pattern that a path finds, and its parameters: "/{a} a=1".
func lookup(tree *routetree.Tree[string], path routetree.Path) string {
	var m routetree.Match[string]
	if !tree.Find(&path, [3]string{}, &m) {
		return ""
	}
	found := m.Value
	for i, name := range m.Pattern.Names() {
		found += " " + name + "=" + m.Values()[i]
	}
	return found
}

func TestParseRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                   "must begin with a slash",
		"users":              "must begin with a slash",
		"/{}":                "without a name",
		"/*":                 "without a name",
		"/{...}":             "without a name",
		"/{a b}":             `the parameter name "a b"`,
		"/{a":                "an opening brace without a closing one",
		"/a}":                "a closing brace without an opening one",
		"/{a:[}":             "without a closing one",
		"/{a:(}":             "missing closing )",
		"/{a:a)(b}":          "unexpected )",
		"/{a:}":              "no regular expression",
		"/{a}/{a}":           `the parameter "a" twice`,
		"/{a}/{a...}":        `the parameter "a" twice`,
		"/{a}{b}":            `nothing between the parameters "a" and "b"`,
		"/:a{b}":             `nothing between the parameters "a" and "b"`,
		"/{a...}/b":          `the wildcard "a" must stand at the end`,
		"/*a/":               `the wildcard "a" must stand at the end`,
		"/x{a...}":           "must be a whole segment",
		"/{a...}x":           "must be a whole segment",
		"/{a...:[0-9]}":      "cannot have a regular expression",
		"/a?b":               "'?', which cannot be part",
		"/a#b":               "'#', which cannot be part",
		`/{a:(?P<x>b)}`:      "",
		"/{a:[0-9]{2}}":      "",
		"/{a:[{}]}":          "",
		"/{a:[]}]}":          "",
		"/{a:[^]}]}":         "",
		"/{a:[[:alpha:]}]}":  "",
		`/{a:\}}`:            "",
		"/{a:a/b}/c":         "",
		"/{y:[0-9]{4}}{m}":   "",
		"/:/*":               "without a name",
		"/a*b:c":             "",
		"/v1/items:undelete": "",
		"/:":                 "",
		"//":                 "",
	} {
		_, err := routetree.Parse(text)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestAPatternHasAtMost16Parameters(t *testing.T) {
	text := ""
	for i := range 16 {
		text += fmt.Sprintf("/:p%d", i)
	}
	p := parse(t, text)
	tree := &routetree.Tree[string]{}
	tree.Add(p, "", "x")
	var m routetree.Match[string]
	if path := strings.Repeat("/v", 16); !tree.Find(&routetree.Path{Text: path}, [3]string{}, &m) || len(m.Values()) != 16 {
		t.Errorf("%q", m.Values())
	}
	if _, err := routetree.Parse(text + "/*rest"); err == nil || !strings.Contains(err.Error(), "17 parameters; 16 are allowed") {
		t.Error(err)
	}
}

func TestTheMoreSpecialPatternWins(t *testing.T) {
	tree := &routetree.Tree[string]{}
	for _, text := range []string{
		"/", "/{page}", "/users", "/users/", "/users/me", "/users/{id:[0-9]+}", "/users/{name}", "/users/{name}.json", "/users/{name}/posts", "/users/me/photos",
		"/files/{path...}", "/files/special", "/{all...}", "/{owner}/{repo}/compare/{base}...{head}", "/v1/items:all", "/ü/{x}", "/a.b(c)[d]+",
		"/d/{y:[0-9]{4}}{m:[0-9]{2}}", "/case/{x:(?i)abc}", "/alt/{x:a|bc}", "/both/:id/*rest", "/deep/{a}/x/y", "/deep/{b}/{c}/z", "/{a:b}/x/1", "/nl/{x:.+}", "/nl/{x}-{y}",
	} {
		if other, taken := tree.Add(parse(t, text), "", text); taken {
			t.Fatalf("%s is taken by %s", text, other)
		}
	}
	for path, want := range map[string]string{
		"/": "/", "/x": "/{page} page=x", "/users": "/users", "/users/": "/users/", "/users/me": "/users/me", "/users/7": "/users/{id:[0-9]+} id=7",
		"/users/7x": "/users/{name} name=7x", "/users/ann.json": "/users/{name}.json name=ann", "/users/.json": "/users/{name} name=.json",
		"/users/me/posts": "/users/{name}/posts name=me", "/users/me/photos": "/users/me/photos", "/users/me/nope": "/{all...} all=users/me/nope",
		"/files": "/{page} page=files", "/files/": "/{all...} all=files/", "/files/a": "/files/{path...} path=a", "/files/a/b/": "/files/{path...} path=a/b/", "/files/special": "/files/special",
		"/files//": "/files/{path...} path=/", "//": "/{all...} all=/", "/users//posts": "/{all...} all=users//posts",
		"/o/r/compare/a...b": "/{owner}/{repo}/compare/{base}...{head} owner=o repo=r base=a head=b",
		"/v1/items:all":      "/v1/items:all", "/ü/é": "/ü/{x} x=é", "/a.b(c)[d]+": "/a.b(c)[d]+", "/axb(c)[d]+": "/{page} page=axb(c)[d]+",
		"/d/202401": "/d/{y:[0-9]{4}}{m:[0-9]{2}} y=2024 m=01", "/case/aBc": "/case/{x:(?i)abc} x=aBc", "/case/abcd": "/{all...} all=case/abcd",
		"/alt/a": "/alt/{x:a|bc} x=a", "/alt/bc": "/alt/{x:a|bc} x=bc", "/alt/ac": "/{all...} all=alt/ac", "/both/7/a/b": "/both/:id/*rest id=7 rest=a/b",
		"/deep/1/x/y": "/deep/{a}/x/y a=1", "/deep/1/x/z": "/deep/{b}/{c}/z b=1 c=x", "/b/x/1": "/{a:b}/x/1 a=b", "": "", "x": "", "*": "",
		"/nl/a-\n": "/nl/{x}-{y} x=a y=\n", "/nl/a\n": "/{all...} all=nl/a\n", "/users/\xff.json": "/users/{name}.json name=\xff",
	} {
		if got := lookup(tree, routetree.Path{Text: path}); got != want {
			t.Errorf("%q finds %q, want %q", path, got, want)
		}
	}
}

func TestKeys(t *testing.T) {
	tree := &routetree.Tree[string]{}
	for _, route := range []string{"GET /users/me", "POST /users/{id}", "PUT /users/{other}", " /users/{id}/x", "GET /users/{id}/x", "GET /{all...}"} {
		key, text, _ := strings.Cut(route, " ")
		if _, taken := tree.Add(parse(t, text), key, route); taken {
			t.Fatal(route)
		}
	}
	if other, taken := tree.Add(parse(t, "/users/:x"), "POST", "y"); !taken || other != "POST /users/{id}" {
		t.Errorf("%q, %v", other, taken)
	}
	for _, c := range []struct {
		path string
		keys [3]string
		want string
	}{
		{"/users/me", [3]string{"GET"}, "GET /users/me"}, {"/users/me", [3]string{"POST"}, "POST /users/{id}"}, {"/users/7", [3]string{"GET"}, "GET /{all...}"},
		{"/users/7", [3]string{"DELETE"}, ""}, {"/users/7/x", [3]string{"DELETE"}, " /users/{id}/x"}, {"/users/7/x", [3]string{"HEAD", "GET"}, "GET /users/{id}/x"},
	} {
		var m routetree.Match[string]
		if tree.Find(&routetree.Path{Text: c.path}, c.keys, &m); m.Value != c.want {
			t.Errorf("%s %v: %q, want %q", c.path, c.keys, m.Value, c.want)
		}
	}
	var keys []string
	tree.Keys(&routetree.Path{Text: "/users/me"}, func(key string) { keys = append(keys, key) })
	if want := []string{"GET", "POST", "PUT", "GET"}; !slices.Equal(keys, want) {
		t.Errorf("%q", keys)
	}
}

func TestEncodedSlashes(t *testing.T) {
	tree := &routetree.Tree[string]{}
	for _, text := range []string{"/users/{id}", "/users/{id}/posts", "/files/{path...}", "/a/b", "/x/{a}/{b}"} {
		tree.Add(parse(t, text), "", text)
	}
	for _, c := range []struct{ name, path, root, raw, want string }{
		{"an encoded slash is part of its segment", "/users/a/b", "", "/users/a%2Fb", "/users/{id} id=a/b"},
		{"in small letters, below a mount", "/users/a/b/posts", "/api", "/api/users/a%2fb/posts", "/users/{id}/posts id=a/b"},
		{"text does not match it", "/a/b", "", "/a%2Fb", ""},
		{"a percent sign is decoded once", "/users/a%2Fb", "", "/users/a%252Fb", "/users/{id} id=a%2Fb"},
		{"a wildcard has all slashes", "/files/a/b/c", "", "/files/a%2Fb/c", "/files/{path...} path=a/b/c"},
		{"two of them, with other encodings", "/x/a/b/ü/", "", "/x/a%2Fb/%C3%BC%2F", "/x/{a}/{b} a=a/b b=ü/"},
		{"one in the prefix of the mount", "/users/a/b", "/a/p", "/a%2Fp/users/a%2Fb", "/users/{id} id=a/b"},
		{"one where the prefix of the mount ends", "/users/7", "/api", "/api%2Fusers/7", "/users/{id} id=7"},
		{"a path that was changed", "/a/b", "", "/other%2Fpath", "/a/b"},
		{"a path that has grown", "/a/b", "", "/%2F", "/a/b"},
		{"malformed encoding stays", "/users/%zz/b", "", "/users/%zz%2Fb", "/users/{id} id=%zz/b"},
	} {
		if got := lookup(tree, routetree.NewPath(c.path, c.root, c.raw)); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestPrefix(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		values        []string
		length        int
		ok            bool
	}{
		{"/", "/a/b", nil, 0, true}, {"/", "", nil, 0, true}, {"/api", "/api", nil, 4, true}, {"/api", "/api/", nil, 4, true}, {"/api/", "/api/x", nil, 4, true},
		{"/api", "/apix", nil, 0, false}, {"/api/v2", "/api", nil, 0, false}, {"/{org}/app", "/o/app/x", []string{"o"}, 6, true}, {"/{id:[0-9]+}", "/x", nil, 0, false},
	} {
		values, length, ok := parse(t, c.pattern).Prefix(&routetree.Path{Text: c.path})
		if !slices.Equal(values, c.values) || length != c.length || ok != c.ok {
			t.Errorf("%s of %s: %q, %d, %v", c.pattern, c.path, values, length, ok)
		}
	}
	order := []string{"/", "/a", "/{x}/b", "/a/{x}/c", "/a/{x:y}/c", "/{x}", "/a/b/"}
	slices.SortFunc(order, func(a, b string) int { return routetree.More(parse(t, a), parse(t, b)) })
	if want := []string{"/a/{x:y}/c", "/a/{x}/c", "/a/b/", "/{x}/b", "/a", "/{x}", "/"}; !slices.Equal(order, want) {
		t.Errorf("%q", order)
	}
}

func TestBuild(t *testing.T) {
	for _, c := range []struct {
		name, pattern string
		values        map[string]string
		want, err     string
	}{
		{"text", "/a b/ü", nil, "/a%20b/%C3%BC", ""},
		{"a slash at the end", "/a/", nil, "/a/", ""},
		{"characters that a segment cannot have", "/{x}", map[string]string{"x": "a/b?c#d%e\\"}, "/a%2Fb%3Fc%23d%25e%5C", ""},
		{"a wildcard keeps its slashes", "/f/*p", map[string]string{"p": "a b/c/"}, "/f/a%20b/c/", ""},
		{"mixed", "/{a}-{b}.json", map[string]string{"a": "1-2", "b": "3"}, "/1-2-3.json", ""},
		{"mixed in a way that a match would not give back", "/{a}-{b}", map[string]string{"a": "1", "b": "2-3"}, "", "do not match"},
		{"a constraint", "/{id:[0-9]+}", map[string]string{"id": "x"}, "", `do not match "{id:[0-9]+}"`},
		{"a missing parameter", "/{a}", nil, "", `"a" is missing`},
		{"an empty parameter", "/{a}", map[string]string{"a": ""}, "", `"a" is empty`},
		{"a superfluous parameter", "/{a}", map[string]string{"a": "1", "b": "2"}, "", `no parameter "b"`},
		{"two dots", "/{a}/x", map[string]string{"a": ".."}, "", "a browser would remove"},
		{"a dot in a wildcard", "/*a", map[string]string{"a": "x/./y"}, "", "a browser would remove"},
		{"a host", "/*a", map[string]string{"a": "/evil.example"}, "", "for a host"},
	} {
		got, err := parse(t, c.pattern).Build(c.values)
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
	}
}

// naive finds the route of a path by a regular expression for each pattern. The best of the matching
// patterns is the one whose list of ranks is smallest.
type naive struct {
	text   string
	names  []string
	match  *regexp.Regexp
	ranks  []int
	method string
}

var naiveToken = regexp.MustCompile(`\{(\w+)(\.\.\.|:[^}]*)?\}`)

func newNaive(method, text string) naive {
	n := naive{text: text, method: method}
	var re strings.Builder
	for _, s := range strings.Split(text[1:], "/") {
		rank := 0
		re.WriteByte('/')
		at := 0
		for _, m := range naiveToken.FindAllStringSubmatchIndex(s, -1) {
			re.WriteString(regexp.QuoteMeta(s[at:m[0]]))
			n.names = append(n.names, s[m[2]:m[3]])
			kind := ""
			if m[4] >= 0 {
				kind = s[m[4]:m[5]]
			}
			switch {
			case kind == "...":
				re.WriteString("(.+)")
				rank = 1000
			case kind == "" && len(s) == m[1]-m[0]:
				re.WriteString("([^/]+)")
				rank = 999
			case kind == "":
				re.WriteString("([^/]+)")
				rank = 100
			default:
				re.WriteString("(" + kind[1:] + ")")
				rank = 100
			}
			at = m[1]
		}
		re.WriteString(regexp.QuoteMeta(s[at:]))
		if rank == 100 { // more text goes first
			rank -= len(naiveToken.ReplaceAllString(s, ""))
		}
		n.ranks = append(n.ranks, rank)
	}
	n.match = regexp.MustCompile(`\A` + re.String() + `\z`)
	return n
}

func naiveLookup(routes []naive, method, path string) string {
	var best *naive
	for i := range routes {
		r := &routes[i]
		if r.method == method && r.match.MatchString(path) && (best == nil || slices.Compare(r.ranks, best.ranks) < 0) {
			best = r
		}
	}
	if best == nil {
		return ""
	}
	found := best.method + best.text
	for i, value := range best.match.FindStringSubmatch(path)[1:] {
		found += " " + best.names[i] + "=" + value
	}
	return found
}

// compareWithNaive makes random routes and paths, and compares what they find with what the naive lookup
// finds. The path of the parameters must lead back. It returns how many paths were found. In the naive
// lookup, a byte of 1 stands for an encoded slash.
func compareWithNaive(t testing.TB, random *rand.Rand) (found int) {
	pick := func(all ...string) string { return all[random.IntN(len(all))] }
	tree := &routetree.Tree[string]{}
	var routes []naive
	for range 1 + random.IntN(12) {
		text := ""
		for i := range 1 + random.IntN(4) {
			text += "/" + pick("a", "b", "", "ab", fmt.Sprintf("{p%d}", i), fmt.Sprintf("{p%d}", i), fmt.Sprintf("{p%d:[a-b]+}", i), fmt.Sprintf("a{p%d}", i))
		}
		if random.IntN(5) == 0 {
			text += "/{rest...}"
		}
		method := pick("GET ", "PUT ")
		if _, taken := tree.Add(parse(t, text), method, method+text); !taken {
			routes = append(routes, newNaive(method, text))
		}
	}
	for range 30 {
		marked := ""
		for range 1 + random.IntN(5) {
			marked += "/" + pick("a", "b", "ab", "c", "", "abc", "a", "b", "a\x01b", "\x01")
		}
		method := pick("GET ", "PUT ")
		decoded := strings.ReplaceAll(marked, "\x01", "/")
		path := routetree.NewPath(decoded, "", strings.ReplaceAll(marked, "\x01", "%2F"))
		var m routetree.Match[string]
		got := ""
		if tree.Find(&path, [3]string{method, method, method}, &m) {
			got = m.Value
			values := map[string]string{}
			for i, name := range m.Pattern.Names() {
				got += " " + name + "=" + m.Values()[i]
				values[name] = m.Values()[i]
			}
			checkBuilt(t, m.Pattern, values, decoded)
			found++
		}
		if want := strings.ReplaceAll(naiveLookup(routes, method, marked), "\x01", "/"); got != want {
			t.Fatalf("%s%q finds %q, want %q in %v", method, marked, got, want, routes)
		}
	}
	return found
}

func TestRandomRoutesAreFoundAsANaiveLookupFindsThem(t *testing.T) {
	random, found := rand.New(rand.NewPCG(1, 2)), 0
	for range 2000 {
		found += compareWithNaive(t, random)
	}
	if found < 5000 {
		t.Errorf("only %d paths were found", found)
	}
}

func FuzzLookup(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) { compareWithNaive(t, rand.New(rand.NewPCG(a, b))) })
}

// checkBuilt checks that a pattern gives the path of which the values are.
func checkBuilt(t testing.TB, p *routetree.Pattern, values map[string]string, path string) {
	t.Helper()
	built, err := p.Build(values)
	if err != nil {
		if !strings.Contains(err.Error(), "a browser would") {
			t.Fatalf("%s does not build %q of %q: %v", p, path, values, err)
		}
		return
	}
	if decoded, err := url.PathUnescape(built); decoded != path || err != nil {
		t.Fatalf("%s builds %q of %q, want %q", p, built, values, path)
	}
}

func FuzzPattern(f *testing.F) {
	for _, text := range []string{"/users/{id:[0-9]+}", "/{a}-{b}.json", "/*rest", "/:a/{b...}", "/{a:[^]}]{2}}", "/{a:\\Q}"} {
		f.Add(text, "/users/7", "x")
	}
	f.Fuzz(func(t *testing.T, text, path, value string) {
		p, err := routetree.Parse(text)
		if err != nil {
			return
		}
		tree := &routetree.Tree[string]{}
		tree.Add(p, "", "x")
		p.Prefix(&routetree.Path{Text: "/" + path})
		var m routetree.Match[string]
		if tree.Find(&routetree.Path{Text: path}, [3]string{}, &m) {
			values := map[string]string{}
			for i, name := range p.Names() {
				values[name] = m.Values()[i]
			}
			checkBuilt(t, p, values, path)
		}
		values := map[string]string{}
		for _, name := range p.Names() {
			values[name] = value
		}
		built, err := p.Build(values)
		if err != nil {
			return
		}
		decoded, err := url.PathUnescape(built)
		if err != nil {
			t.Fatal(err)
		}
		way := routetree.NewPath(decoded, "", built)
		if !tree.Find(&way, [3]string{}, &m) {
			t.Fatalf("%q does not match %q, which it has built", text, built)
		}
		got := map[string]string{}
		for i, name := range p.Names() {
			got[name] = m.Values()[i]
		}
		if diff := cmp.Diff(values, got); diff != "" && !maps.Equal(values, got) {
			t.Errorf("%q: %s", built, diff)
		}
	})
}
