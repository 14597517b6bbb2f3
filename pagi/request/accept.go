package request

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// An AcceptRange is one element of an Accept, Accept-Language, Accept-Charset or Accept-Encoding
// header (RFC 9110 section 12.5).
type AcceptRange struct {
	// Value is a media range ("text/*"), a language range, a charset or a content coding, in lower
	// case.
	Value string
	// Params are the parameters of a media range, with names in lower case and without q.
	Params map[string]string
	// Q is the weight, 0 to 1. Zero means not acceptable.
	Q float64
}

// maxAcceptRanges is how many elements of an Accept header count. Browsers send fewer than 20.
const maxAcceptRanges = 100

// ParseAccept parses the value of an Accept header or of one of its relatives. The ranges are in the
// order of the header. An element that breaks the grammar is left out; a weight above 1 counts as 1.
// Only the first 100 elements count.
func ParseAccept(header string) []AcceptRange {
	var ranges []AcceptRange
	for header != "" && len(ranges) < maxAcceptRanges {
		var item string
		item, header = cutUnquoted(header, ',')
		if r, ok := parseAcceptRange(item); ok {
			ranges = append(ranges, r)
		}
	}
	return ranges
}

func parseAcceptRange(item string) (r AcceptRange, ok bool) {
	value, rest := cutUnquoted(item, ';')
	value = strings.ToLower(strings.Trim(value, " \t"))
	if value == "" || strings.ContainsAny(value, " \t\"=") {
		return r, false
	}
	r = AcceptRange{Value: value, Q: 1}
	for rest != "" {
		var param string
		param, rest = cutUnquoted(rest, ';')
		name, text, _ := strings.Cut(param, "=")
		name, text = strings.ToLower(strings.Trim(name, " \t")), unquote(strings.Trim(text, " \t"))
		switch name {
		case "":
		case "q":
			q, err := strconv.ParseFloat(text, 64)
			if err != nil || q < 0 || q != q {
				return r, false
			}
			r.Q = min(q, 1)
			return r, true // what follows are extensions, not parameters of the range
		default:
			if r.Params == nil {
				r.Params = make(map[string]string)
			}
			r.Params[name] = text
		}
	}
	return r, true
}

// cutUnquoted cuts s at the first sep outside a quoted string.
func cutUnquoted(s string, sep byte) (before, after string) {
	if strings.IndexByte(s, '"') < 0 {
		before, after, _ = strings.Cut(s, string(sep))
		return before, after
	}
	quoted := false
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == '\\' && quoted:
			i++
		case s[i] == sep && !quoted:
			return s[:i], s[i+1:]
		}
	}
	return s, ""
}

// unquote returns the text of a quoted string, or s if it is none.
func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	s = s[1 : len(s)-1]
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Accepts returns the one of offers that the client likes best by its Accept header, or "" if it
// accepts none. An offer is a media type ("text/html", "text/html; level=1") or a short name of one
// (see MediaType), and is returned as it was given.
//
// Each offer has the weight of the most specific range that matches it. Of offers with the same
// weight, the one matched by the more specific range wins, then the one whose range stands first in
// the header, then the first offer. Without an Accept header the first offer wins.
func (r *Request) Accepts(offers ...string) string {
	return best(r.ranges("accept"), offers, matchMedia)
}

// AcceptsLanguage returns the one of offers, language tags such as "de-AT", that the client likes
// best by its Accept-Language header, or "" if it accepts none. A range matches an offer that is
// equal or begins with it ("de" matches "de-AT"). A range also matches an offer that is its own
// beginning ("de-AT" falls back to "de", RFC 4647 section 3.4), with less specificity.
func (r *Request) AcceptsLanguage(offers ...string) string {
	return best(r.ranges("accept-language"), offers, matchLanguage)
}

// AcceptsCharset returns the one of offers that the client likes best by its Accept-Charset header,
// or "" if it accepts none.
func (r *Request) AcceptsCharset(offers ...string) string {
	return best(r.ranges("accept-charset"), offers, matchToken)
}

// AcceptsEncoding returns the one of offers, content codings such as "gzip", that the client likes
// best by its Accept-Encoding header. "identity" stands for no coding. It is acceptable, with the
// least preference, unless the header refuses it, and is the answer if nothing else is acceptable.
// The answer is "" only if the header refuses it as well (RFC 9110 section 12.5.3). Without the
// header, the answer is "identity".
func (r *Request) AcceptsEncoding(offers ...string) string {
	ranges := r.ranges("accept-encoding")
	if len(ranges) == 0 {
		return identity
	}
	offers = slices.DeleteFunc(slices.Clone(offers), func(s string) bool { return pagi.EqualFold(s, identity) })
	if found := best(ranges, offers, matchCoding); found != "" {
		if q, named := identityQuality(ranges); !named || q <= rate(ranges, found, matchCoding).q {
			return found
		}
		return identity
	}
	if q, named := identityQuality(ranges); named && q == 0 {
		return ""
	}
	return identity
}

const identity = "identity"

// identityQuality returns the weight that a header gives to the absence of a coding.
func identityQuality(ranges []AcceptRange) (q float64, named bool) {
	for _, r := range ranges {
		if r.Value == identity {
			return r.Q, true
		}
	}
	for _, r := range ranges {
		if r.Value == "*" && r.Q == 0 {
			return 0, true
		}
	}
	return 0, false
}

func (r *Request) ranges(header string) []AcceptRange {
	return ParseAccept(r.scope.Headers.Joined(header))
}

// matcher returns how specifically a range matches an offer: -1 not at all, larger is more specific.
type matcher func(r *AcceptRange, offer string) int

// rating is what a header says about one offer.
type rating struct {
	q           float64
	specificity int
	order       int // of the range in the header
}

func rate(ranges []AcceptRange, offer string, match matcher) (best rating) {
	best.specificity = -1
	for i := range ranges {
		if s := match(&ranges[i], offer); s > best.specificity {
			best = rating{ranges[i].Q, s, i}
		}
	}
	return best
}

func best(ranges []AcceptRange, offers []string, match matcher) string {
	if len(offers) == 0 {
		return ""
	}
	if len(ranges) == 0 {
		return offers[0]
	}
	found, foundRating := "", rating{}
	for _, offer := range offers {
		got := rate(ranges, offer, match)
		if got.q > 0 && (found == "" || got.compare(foundRating) > 0) {
			found, foundRating = offer, got
		}
	}
	return found
}

func (a rating) compare(b rating) int {
	return cmp.Or(cmp.Compare(a.q, b.q), cmp.Compare(a.specificity, b.specificity), cmp.Compare(b.order, a.order))
}

// mediaTypes are the short names of media types.
var mediaTypes = map[string]string{
	"atom": "application/atom+xml",
	"css":  "text/css",
	"csv":  "text/csv",
	"form": "application/x-www-form-urlencoded",
	"gif":  "image/gif",
	"html": "text/html",
	"jpeg": "image/jpeg",
	"jpg":  "image/jpeg",
	"js":   "text/javascript",
	"json": "application/json",
	"pdf":  "application/pdf",
	"png":  "image/png",
	"rss":  "application/rss+xml",
	"svg":  "image/svg+xml",
	"text": "text/plain",
	"txt":  "text/plain",
	"webp": "image/webp",
	"xml":  "application/xml",
	"zip":  "application/zip",
}

// MediaType returns the media type with a short name: atom, css, csv, form, gif, html, jpeg, jpg, js,
// json, pdf, png, rss, svg, text, txt, webp, xml or zip. Another name gets "application/" in front. A
// name with a slash is returned as it is.
func MediaType(name string) string {
	if strings.IndexByte(name, '/') >= 0 {
		return name
	}
	if t, ok := mediaTypes[strings.ToLower(name)]; ok {
		return t
	}
	return "application/" + name
}

// matchMedia compares a media range with a media type. Each parameter of the range must be one of the
// offer, and makes the match more specific.
func matchMedia(r *AcceptRange, offer string) int {
	offer = MediaType(offer)
	offered, params, hasParams := strings.Cut(offer, ";")
	offered = strings.Trim(offered, " \t")
	specificity := 0
	switch major, isRange := strings.CutSuffix(r.Value, "/*"); {
	case r.Value == "*/*" || r.Value == "*":
	case isRange:
		if got, _, _ := strings.Cut(offered, "/"); !pagi.EqualFold(got, major) {
			return -1
		}
		specificity = 1
	case pagi.EqualFold(offered, r.Value):
		specificity = 2
	default:
		return -1
	}
	if len(r.Params) == 0 {
		return specificity
	}
	if !hasParams {
		return -1
	}
	offer1, _ := parseAcceptRange("x;" + params)
	for name, value := range r.Params {
		if got, ok := offer1.Params[name]; !ok || !pagi.EqualFold(got, value) {
			return -1
		}
	}
	return specificity + len(r.Params)
}

func matchLanguage(r *AcceptRange, offer string) int {
	switch {
	case r.Value == "*":
		return 0
	case pagi.EqualFold(r.Value, offer):
		return 2 + 2*strings.Count(r.Value, "-") + 1
	case isLanguagePrefix(r.Value, offer):
		return 2 + 2*strings.Count(r.Value, "-")
	case r.Q > 0 && isLanguagePrefix(offer, r.Value):
		return 1
	}
	return -1
}

// isLanguagePrefix reports whether tag begins with prefix, at a hyphen.
func isLanguagePrefix(prefix, tag string) bool {
	return len(tag) > len(prefix) && tag[len(prefix)] == '-' && pagi.EqualFold(tag[:len(prefix)], prefix)
}

func matchToken(r *AcceptRange, offer string) int {
	switch {
	case r.Value == "*":
		return 0
	case pagi.EqualFold(r.Value, offer):
		return 1
	}
	return -1
}

// matchCoding knows the old names of codings (RFC 9110 section 8.4.1).
func matchCoding(r *AcceptRange, offer string) int {
	if old, is := strings.CutPrefix(r.Value, "x-"); is && (old == "gzip" || old == "compress") {
		plain := *r
		plain.Value = old
		return matchToken(&plain, offer)
	}
	return matchToken(r, offer)
}
