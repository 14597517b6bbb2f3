package request_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/request"
)

// with returns a request that has the given headers and nothing else.
func with(t testing.TB, pairs ...string) *request.Request {
	return request.New(t.Context(), &pagi.Scope{Type: pagi.TypeHTTP, Headers: pagi.NewHeaders(pairs...)}, nil)
}

func TestAcceptsTheTypeTheClientLikesBest(t *testing.T) {
	for name, c := range map[string]struct {
		accept string
		offers string
		want   string
	}{
		"no header":                     {"", "json html", "json"},
		"nothing but garbage":           {"=;,;q=1", "json html", "json"},
		"the one it names":              {"text/html", "json html", "html"},
		"none":                          {"image/png", "json html", ""},
		"by weight":                     {"text/html;q=0.5, application/json;q=0.8", "html json", "json"},
		"a weight with spaces":          {"text/html ; q = 0.5 , application/json; q=0.8", "html json", "json"},
		"a weight above 1":              {"text/html;q=7, application/json", "json html", "html"},
		"a weight below 0 is malformed": {"text/html;q=-1, application/json;q=0.1", "html json", "json"},
		"a weight that is no number":    {"text/html;q=x, application/json;q=0.1", "html json", "json"},
		"NaN is no weight":              {"text/html;q=NaN, application/json;q=0.1", "html json", "json"},
		"upper case":                    {"TEXT/HTML;Q=0.5", "json html", "html"},
		"refused by weight 0":           {"text/html;q=0, */*", "html json", "json"},
		"all refused":                   {"*/*;q=0", "html json", ""},
		"a refused range, an accepted type of it": {"text/*;q=0, text/plain", "html text", "text"},
		"specific before general":                 {"text/*, text/html", "text html", "html"},
		"the specific weight counts":              {"text/*;q=0.9, text/html;q=0.1, application/json;q=0.5", "html json", "json"},
		"the order of the client":                 {"text/html, application/json", "json html", "html"},
		"any: the order of the server":            {"*/*", "json html", "json"},
		"a lonely star means any":                 {"*", "json html", "json"},
		"a parameter":                             {"text/html;level=1;q=0.3, text/html;q=0.7", "text/html;level=1 json html", "html"},
		"a parameter that the offer lacks":        {"text/html;level=1", "html", ""},
		"a quoted parameter":                      {`text/html;v="a,b;c\"d", text/plain;q=0.1`, "text", "text"},
		"an extension behind the weight":          {"text/html;q=0.5;level=1", "html", "html"},
		"a short name that is not known":          {"application/cbor", "json cbor", "cbor"},
		"a browser":                               {"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8", "json html", "html"},
	} {
		if got := with(t, "accept", c.accept).Accepts(strings.Fields(c.offers)...); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	if got := with(t, "accept", "text/html").Accepts(); got != "" {
		t.Errorf("no offers: %q", got)
	}
	if got := with(t, "accept", "text/html;q=0.1", "accept", "application/json").Accepts("html", "json"); got != "json" {
		t.Errorf("two lines: %q", got)
	}
}

func TestAcceptsTheLanguageTheClientLikesBest(t *testing.T) {
	for name, c := range map[string]struct{ accept, offers, want string }{
		"no header":                          {"", "de en", "de"},
		"the same tag":                       {"en", "de en", "en"},
		"a range matches longer tags":        {"de", "en de-AT", "de-AT"},
		"a longer range falls back":          {"de-CH", "en de", "de"},
		"an exact match before a fallback":   {"de-CH, en", "de en", "en"},
		"no match within a subtag":           {"de", "den", ""},
		"any":                                {"*", "fr de", "fr"},
		"any but one":                        {"*, de;q=0", "de fr", "fr"},
		"a refused variant leaves the rest":  {"en-US;q=0, en", "en-US en-GB en", "en"},
		"a refused variant refuses no other": {"en-US;q=0, *;q=0.1", "en", "en"},
		"case does not matter":               {"DE-at", "en de-AT", "de-AT"},
		"by weight":                          {"de;q=0.5, fr;q=0.9, en;q=0.7", "de en fr", "fr"},
	} {
		if got := with(t, "accept-language", c.accept).AcceptsLanguage(strings.Fields(c.offers)...); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestAcceptsTheEncodingTheClientLikesBest(t *testing.T) {
	for name, c := range map[string]struct{ accept, offers, want string }{
		"no header":                        {"", "br gzip", "identity"},
		"the one it names":                 {"gzip", "br gzip", "gzip"},
		"an old name":                      {"x-gzip", "br gzip", "gzip"},
		"the first of equals":              {"br, gzip", "gzip br", "br"},
		"by weight":                        {"br;q=0.1, gzip;q=0.5", "br gzip", "gzip"},
		"none known":                       {"zstd", "br gzip", "identity"},
		"any":                              {"*", "br gzip", "br"},
		"any but one":                      {"*, br;q=0", "br gzip", "gzip"},
		"none at all":                      {"identity;q=0", "br gzip", ""},
		"only what is named":               {"*;q=0, gzip", "br gzip", "gzip"},
		"nothing that there is":            {"*;q=0, zstd", "br gzip", ""},
		"identity before a worse one":      {"identity, gzip;q=0.5", "gzip", "identity"},
		"a coding before a worse identity": {"identity;q=0.5, gzip", "gzip", "gzip"},
		"identity is no offer of its own":  {"gzip;q=0.1", "identity gzip", "gzip"},
	} {
		if got := with(t, "accept-encoding", c.accept).AcceptsEncoding(strings.Fields(c.offers)...); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestAcceptsCharset(t *testing.T) {
	if got := with(t, "accept-charset", "iso-8859-1;q=0.5, UTF-8").AcceptsCharset("ISO-8859-1", "utf-8"); got != "utf-8" {
		t.Errorf("got %q", got)
	}
	if got := with(t, "accept-charset", "koi8-r").AcceptsCharset("utf-8"); got != "" {
		t.Errorf("got %q", got)
	}
}

func TestParseAcceptCountsItsRanges(t *testing.T) {
	got := request.ParseAccept(`text/html;level=1;q=0.5, ;x, */*`)
	want := []request.AcceptRange{{Value: "text/html", Params: map[string]string{"level": "1"}, Q: 0.5}, {Value: "*/*", Q: 1}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n := len(request.ParseAccept(strings.Repeat("a/b,", 10_000))); n != 100 {
		t.Errorf("%d ranges of a bomb", n)
	}
}

func FuzzParseAccept(f *testing.F) {
	for _, seed := range []string{"", "text/html;q=0.5, */*", `a/b;c="\",";q=1`, ";;;,,,", "\"", `a;b="`, "de-AT, de;q=0.1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		for _, r := range request.ParseAccept(header) {
			if !(r.Q >= 0 && r.Q <= 1) || r.Value == "" {
				t.Errorf("%+v", r)
			}
		}
		r := request.New(t.Context(), &pagi.Scope{Headers: pagi.Headers{{Name: "accept", Value: header}, {Name: "accept-language", Value: header}, {Name: "accept-encoding", Value: header}}}, nil)
		if got := r.Accepts("html"); got != "" && got != "html" {
			t.Errorf("%q", got)
		}
		r.AcceptsLanguage("de", "en-US")
		r.AcceptsEncoding("gzip")
	})
}

func BenchmarkAccepts(b *testing.B) {
	const chrome = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"
	r := with(b, "accept", chrome)
	b.ReportAllocs()
	for b.Loop() {
		if r.Accepts("application/json", "text/html") != "text/html" {
			b.Fatal("wrong")
		}
	}
}
