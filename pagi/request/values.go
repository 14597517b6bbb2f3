package request

import (
	"iter"
	"net/url"
	"strings"
)

type Pair struct{ Name, Value string }

type Values []Pair

func (v *Values) Add(name, value string) { *v = append(*v, Pair{name, value}) }

func (v Values) Get(name string) string {
	for _, p := range v {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

func (v Values) Last(name string) string {
	got := ""
	for _, p := range v {
		if p.Name == name {
			got = p.Value
		}
	}
	return got
}

func (v Values) All(name string) (all []string) {
	for _, p := range v {
		if p.Name == name {
			all = append(all, p.Value)
		}
	}
	return all
}

func (v Values) Has(name string) bool { return len(v.All(name)) > 0 }

func (v Values) Names() iter.Seq[string] {
	return func(yield func(string) bool) {
		seen := map[string]bool{}
		for _, p := range v {
			if !seen[p.Name] {
				seen[p.Name] = true
				if !yield(p.Name) {
					return
				}
			}
		}
	}
}

func ParseValues(s string) (v Values) {
	for p := range strings.SplitSeq(s, "&") {
		if p == "" {
			continue
		}
		name, value, _ := strings.Cut(p, "=")
		n, _ := url.QueryUnescape(name)
		x, _ := url.QueryUnescape(value)
		v.Add(n, x)
	}
	return v
}

func ParseValuesStrict(s string) (Values, error) { return ParseValues(s), nil }
