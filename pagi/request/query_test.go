package request_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/request"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

func TestQueryAndPathParameters(t *testing.T) {
	scope := (&pagi.Scope{QueryString: "q=a+b&q=%C3%A9"}).With(scopekey.PathParams, map[string]string{"id": "7", "action": "edit"})
	r := request.New(t.Context(), scope, nil)
	if got := r.Query().All("q"); !cmp.Equal(got, []string{"a b", "é"}) {
		t.Errorf("%q", got)
	}
	if id, err := request.Value[int](r.Params(), "id"); id != 7 || err != nil {
		t.Errorf("%d, %v", id, err)
	}
	if r.Param("action") != "edit" || r.Param("none") != "" {
		t.Error("Param")
	}
	if r := with(t); len(r.Params()) != 0 || r.Param("id") != "" || len(r.Query()) != 0 {
		t.Error("parameters out of nothing")
	}
}

func TestCookies(t *testing.T) {
	for name, c := range map[string]struct {
		header string
		want   request.Values
	}{
		"none":                            {"", nil},
		"two":                             {"a=1; b=2", request.Values{{"a", "1"}, {"b", "2"}}},
		"the same name twice":             {"a=1; a=2", request.Values{{"a", "1"}, {"a", "2"}}},
		"no space":                        {"a=1;b=2", request.Values{{"a", "1"}, {"b", "2"}}},
		"an equals sign in a value":       {"a=b=c==", request.Values{{"a", "b=c=="}}},
		"an empty value":                  {"a=; b=2", request.Values{{"a", ""}, {"b", "2"}}},
		"quotes":                          {`a="1 2"; b=""`, request.Values{{"a", "1 2"}, {"b", ""}}},
		"a value with one quote":          {`a="1; b=2`, request.Values{{"b", "2"}}},
		"no equals sign":                  {"a; b=2", request.Values{{"b", "2"}}},
		"no name":                         {"=1; b=2", request.Values{{"b", "2"}}},
		"a name that is no token":         {"a b=1; c[0]=1; d=2", request.Values{{"d", "2"}}},
		"percent-encoding is not decoded": {"a=%41", request.Values{{"a", "%41"}}},
		"bytes that are not UTF-8":        {"a=\xff\xfe", request.Values{{"a", "\xff\xfe"}}},
		"a control character":             {"a=\x01; b=2", request.Values{{"b", "2"}}},
		"separators only":                 {";; ;=;", request.Values{}},
	} {
		got := with(t, "cookie", c.header).Cookies()
		if len(got) != len(c.want) || len(got) > 0 && !cmp.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if n := len(with(t, "cookie", strings.Repeat("a=1;", 100_000)).Cookies()); n != 1000 {
		t.Errorf("%d cookies of a bomb", n)
	}
	r := with(t, "cookie", "a=1; a=2; e=")
	if v, ok := r.Cookie("a"); v != "1" || !ok {
		t.Errorf("%q, %v", v, ok)
	}
	if v, ok := r.Cookie("e"); v != "" || !ok {
		t.Errorf("%q, %v", v, ok)
	}
	if _, ok := r.Cookie("none"); ok {
		t.Error("a cookie out of nothing")
	}
}

// What net/http takes from a cookie header, Cookies takes as well, except for a name without "=" and
// for spaces around a value.
func FuzzCookies(f *testing.F) {
	for _, seed := range []string{"a=1; b=2", `a="x y"`, "a=b=c", ";;=;", "a=\xff", "a=1;a=2", `a="`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		headers := pagi.Headers{{Name: "cookie", Value: header}}
		got := request.New(t.Context(), &pagi.Scope{Headers: headers}, nil).Cookies()
		if headers.Validate("") != nil {
			return // no server passes it on
		}
		have := map[string]bool{}
		for _, c := range got {
			have[c.Name+"="+strings.Trim(c.Value, " \t")] = true
		}
		r := http.Request{Header: http.Header{"Cookie": {header}}}
		for _, c := range r.Cookies() {
			if value := strings.Trim(c.Value, " \t"); !have[c.Name+"="+value] && len(got) < 1000 && value != "" {
				t.Errorf("net/http has %q=%q, we have %q", c.Name, c.Value, got)
			}
		}
	})
}

const cookieHeader = "_ga=GA1.2.1234567890.1234567890; session=abcdefghijklmnopqrstuvwxyz0123456789; theme=dark; lang=en-GB; csrftoken=0123456789abcdef"

func BenchmarkCookies(b *testing.B) {
	headers := pagi.NewHeaders("cookie", cookieHeader)
	b.Run("request", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if v, _ := request.New(b.Context(), &pagi.Scope{Headers: headers, Stash: &pagi.Stash{}}, nil).Cookie("theme"); v != "dark" {
				b.Fatal(v)
			}
		}
	})
	b.Run("net/http", func(b *testing.B) {
		r := http.Request{Header: http.Header{"Cookie": {cookieHeader}}}
		b.ReportAllocs()
		for b.Loop() {
			if c, err := r.Cookie("theme"); err != nil || c.Value != "dark" {
				b.Fatal(err)
			}
		}
	})
	b.Run("net/http, all", func(b *testing.B) {
		r := http.Request{Header: http.Header{"Cookie": {cookieHeader}}}
		b.ReportAllocs()
		for b.Loop() {
			if len(r.Cookies()) != 5 {
				b.Fatal("wrong")
			}
		}
	})
}
