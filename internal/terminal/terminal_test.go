package terminal

import (
	"strings"
	"testing"
	"unicode"
)

func TestSafe(t *testing.T) {
	for in, want := range map[string]string{
		"":                     "",
		"GET /a b":             "GET /a b",
		`"quoted"`:             `"quoted"`,
		`back\slash`:           `back\\slash`,
		"\x1b[31mred":          `\x1b[31mred`,
		"\x1b]0;title\a":       `\x1b]0;title\a`,
		"one\r\ntwo":           `one\r\ntwo`,
		"\u009b31m":            `\u009b31m`,
		"a\u202egpj.exe":       `a\u202egpj.exe`,
		"\xff\x7f":             `\xff\x7f`,
		"日本":                   "日本",
		"é \U0001F600 \u200b.": "é \U0001F600 \\u200b.",
	} {
		if got := Safe(in); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

func FuzzSafe(f *testing.F) {
	f.Add("GET /\x1b[2J", 10)
	f.Add("日本\u0301\xff", 3)
	f.Fuzz(func(t *testing.T, s string, columns int) {
		safe := Safe(s)
		if i := strings.IndexFunc(safe, func(r rune) bool {
			return !unicode.IsGraphic(r) || r == unicode.ReplacementChar && !strings.ContainsRune(s, r)
		}); i >= 0 {
			t.Errorf("%q has %q", safe, safe[i:])
		}
		columns %= 200
		cut := Cut(safe, columns)
		if Width(cut) > max(0, columns) {
			t.Errorf("%q takes %d columns, of %d", cut, Width(cut), columns)
		}
		if columns > 0 && (Width(Left(safe, columns)) != columns || Width(Right(safe, columns)) != columns) {
			t.Errorf("%q or %q does not take %d columns", Left(safe, columns), Right(safe, columns), columns)
		}
	})
}

func TestCut(t *testing.T) {
	for _, c := range []struct {
		in      string
		columns int
		want    string
	}{
		{"abc", 3, "abc"}, {"abcd", 3, "ab~"}, {"日本語", 6, "日本語"}, {"日本語", 5, "日本~"}, {"日本語", 4, "日~"}, {"e\u0301e\u0301", 2, "e\u0301e\u0301"}, {"abc", 0, ""}, {"abc", 1, "~"},
	} {
		if got := Cut(c.in, c.columns); got != c.want {
			t.Errorf("%q in %d columns is %q, want %q", c.in, c.columns, got, c.want)
		}
	}
	if got := Left("日", 4) + "|" + Right("ab", 4) + "|"; got != "日  |  ab|" {
		t.Errorf("%q", got)
	}
}
