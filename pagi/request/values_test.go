package request_test

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/request"
)

func TestParseValues(t *testing.T) {
	for name, c := range map[string]struct {
		text   string
		want   request.Values
		strict string // the error of ParseValuesStrict
	}{
		"nothing":                   {"", nil, ""},
		"pairs in order":            {"b=1&a=2&b=3", request.Values{{"b", "1"}, {"a", "2"}, {"b", "3"}}, ""},
		"a name alone":              {"a&b=", request.Values{{"a", ""}, {"b", ""}}, ""},
		"a value alone":             {"=1", request.Values{{"", "1"}}, ""},
		"empty pairs":               {"&&a=1&&", request.Values{{"a", "1"}}, ""},
		"only separators":           {"&&&", request.Values{}, ""},
		"a semicolon":               {"a=1;b=2", request.Values{{"a", "1;b=2"}}, ""},
		"an equals sign":            {"a=b=c", request.Values{{"a", "b=c"}}, ""},
		"plus and percent":          {"a+b=%2B+%26%3d%20", request.Values{{"a b", "+ &= "}}, ""},
		"UTF-8":                     {"n=%C3%A9é", request.Values{{"n", "éé"}}, ""},
		"not UTF-8":                 {"x=1&n=%E9", request.Values{{"x", "1"}, {"n", "\xe9"}}, "pair 2 is not UTF-8"},
		"a name that is not UTF-8":  {"%FF=1", request.Values{{"\xff", "1"}}, "pair 1 is not UTF-8"},
		"a percent sign at the end": {"a=100%", request.Values{{"a", "100%"}}, "pair 1 has a percent sign without two hex digits behind it"},
		"half an encoded byte":      {"a=%4&b=%zz%41", request.Values{{"a", "%4"}, {"b", "%zzA"}}, "pair 1 has a percent sign without two hex digits behind it"},
		"an encoded percent sign":   {"a=%2541", request.Values{{"a", "%41"}}, ""},
		"NUL":                       {"a=%00", request.Values{{"a", "\x00"}}, ""},
	} {
		got := request.ParseValues(c.text)
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		strict, err := request.ParseValuesStrict(c.text)
		var status *pagi.StatusError
		switch {
		case c.strict == "" && (err != nil || !cmp.Equal(strict, c.want)):
			t.Errorf("%s, strict: %q, %v", name, strict, err)
		case c.strict != "" && (err == nil || err.Error() != c.strict || !errors.As(err, &status) || status.Status != 400):
			t.Errorf("%s, strict: %v", name, err)
		}
	}
}

func TestValues(t *testing.T) {
	v := request.ParseValues("b=1&a=2&b=3&c=")
	if v.Get("b") != "1" || v.Last("b") != "3" || !slices.Equal(v.All("b"), []string{"1", "3"}) {
		t.Error("b")
	}
	if v.Get("x") != "" || v.Last("x") != "" || v.All("x") != nil || v.Has("x") || !v.Has("c") {
		t.Error("x or c")
	}
	if got := slices.Collect(v.Names()); !slices.Equal(got, []string{"b", "a", "c"}) {
		t.Errorf("%q", got)
	}
	for range v.Names() {
		break
	}
	v.Add("é &", "=%+")
	if got := v.Encode(); got != "b=1&a=2&b=3&c=&%C3%A9+%26=%3D%25%2B" {
		t.Errorf("%q", got)
	}
}

// ParseValues agrees with net/url where that accepts the text, and Encode is its inverse.
func FuzzParseValues(f *testing.F) {
	for _, seed := range []string{"a=1&b=2", "a=%41+%zz", "&=&&=", "a=b=c", "%", "a;b", "\xff=%ff", "a&a&a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := request.ParseValues(s)
		if again := request.ParseValues(got.Encode()); len(again) != len(got) || len(got) > 0 && !cmp.Equal(again, got) {
			t.Errorf("%q became %q", got, again)
		}
		if strict, err := request.ParseValuesStrict(s); err == nil && (!cmp.Equal(strict, got) || !utf8.ValidString(got.Encode())) {
			t.Errorf("strict: %q, else %q", strict, got)
		}
		want, err := url.ParseQuery(s)
		if err != nil {
			return
		}
		n := 0
		for name, values := range want {
			n += len(values)
			if !slices.Equal(got.All(name), values) {
				t.Errorf("%q: %q, net/url has %q", name, got.All(name), values)
			}
		}
		if n != len(got) {
			t.Errorf("%d pairs, net/url has %d", len(got), n)
		}
	})
}

func BenchmarkParseValues(b *testing.B) {
	form := strings.Repeat("name=Ann+Example&street=Main+Street+7&city=S%C3%A3o+Paulo&zip=12345&", 5) + "last=1"
	b.Run("request", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if request.ParseValues(form).Get("last") != "1" {
				b.Fatal("wrong")
			}
		}
	})
	b.Run("net/url", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			v, err := url.ParseQuery(form)
			if err != nil || v.Get("last") != "1" {
				b.Fatal(err)
			}
		}
	})
}
