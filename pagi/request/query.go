package request

import (
	"maps"
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/headername"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

// Query returns the parameters of the query string, decoded. Malformed percent-encoding stands in
// them as the client sent it; see ParseValues. Value, ValueOr and Decode give them types.
func (r *Request) Query() Values {
	if r.query == nil {
		query := ParseValues(r.scope.QueryString)
		r.query = &query
	}
	return *r.query
}

// QueryStrict returns the parameters of the query string, or an error for one that is malformed; see
// ParseValuesStrict.
func (r *Request) QueryStrict() (Values, error) { return ParseValuesStrict(r.scope.QueryString) }

// Param returns the path parameter called name that the router has found; "" if there is none.
func (r *Request) Param(name string) string { return r.params()[name] }

// Params returns the path parameters that the router has found, sorted by name.
func (r *Request) Params() Values {
	var all Values
	params := r.params()
	for _, name := range slices.Sorted(maps.Keys(params)) {
		all.Add(name, params[name])
	}
	return all
}

func (r *Request) params() map[string]string {
	params, _ := r.scope.Value(scopekey.PathParams).(map[string]string)
	return params
}

// maxCookies is how many cookies of a request count. Browsers keep at most 180 for a site.
const maxCookies = 1000

// Cookies returns the cookies of the request, in the order of the client. Of several with one name,
// browsers send the one with the longest path first. A value has lost the quotes around it, and is
// else as the client sent it. A cookie whose name is no token, or whose value contains a control
// character or a quote, is left out, and so are all after the first 1000.
func (r *Request) Cookies() Values {
	if r.cookies == nil {
		cookies := parseCookies(r.scope.Headers.Joined("cookie"))
		r.cookies = &cookies
	}
	return *r.cookies
}

// Cookie returns the value of the first cookie called name; ok is false if there is none.
func (r *Request) Cookie(name string) (value string, ok bool) {
	cookies := r.Cookies()
	return cookies.Get(name), cookies.Has(name)
}

func parseCookies(header string) Values {
	if header == "" {
		return nil
	}
	cookies := make(Values, 0, min(1+strings.Count(header, ";"), 16))
	for header != "" && len(cookies) < maxCookies {
		var pair string
		pair, header, _ = strings.Cut(header, ";")
		name, value, ok := strings.Cut(pair, "=")
		name, value = strings.Trim(name, " \t"), strings.Trim(value, " \t")
		if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
			value = value[1 : len(value)-1]
		}
		if ok && headername.IsToken(name) && isCookieValue(value) {
			cookies.Add(name, value)
		}
	}
	return cookies
}

// isCookieValue reports whether v may be the value of a cookie. Unlike RFC 6265 section 4.1.1 it
// allows spaces, commas, backslashes and bytes from 0x80, as browsers do.
func isCookieValue(v string) bool {
	for i := range len(v) {
		if c := v[i]; c < ' ' || c == 0x7f || c == '"' {
			return false
		}
	}
	return true
}
