package apps

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/headername"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// ProxyHeaderRules are changes of headers, which are made in the order of the fields. Values may
// have placeholders: {client} is the client's address, {host}, {scheme} and {method} are the
// request's, {path} and {query} are as the client has sent them, with the path of the mount, and
// {header:NAME} is a header of the request, or nothing.
type ProxyHeaderRules struct {
	// Unset lists the headers to remove. "X-Internal-*" removes all that begin with X-Internal-.
	Unset []string `yaml:"unset"`
	// Set replaces all headers of that name.
	Set map[string]string `yaml:"set"`
	// Add adds a header beside others of that name.
	Add map[string]string `yaml:"add"`
}

var headerPlaceholder = regexp.MustCompile(`\{[a-z]+(?::[^{}]*)?\}`)

func (r *ProxyHeaderRules) check(option string) error {
	var errs []error
	names := slices.Concat(r.Unset, slices.Sorted(maps.Keys(r.Set)), slices.Sorted(maps.Keys(r.Add)))
	for i, name := range names {
		switch {
		case !headername.IsToken(name):
			errs = append(errs, pagi.BadOption(option, "%q is not a header name", name))
		case isHop(strings.ToLower(name)) || strings.EqualFold(name, "content-length"):
			errs = append(errs, pagi.BadOption(option, "%s must not be changed, because it belongs to the connection", name))
		case i < len(r.Unset) && name == "*" || i >= len(r.Unset) && strings.Contains(name, "*"):
			errs = append(errs, pagi.BadOption(option, "%s: a * may stand at the end of a name in unset, behind its beginning", name))
		}
	}
	for _, list := range []map[string]string{r.Set, r.Add} {
		for _, name := range slices.Sorted(maps.Keys(list)) {
			errs = append(errs, headerSafe(option, list[name]), checkPlaceholders(option, name, list[name]))
		}
	}
	return errors.Join(errs...)
}

// checkPlaceholders reports the placeholders in a value that do not exist. name is what has the value.
func checkPlaceholders(option, name, value string) error {
	var errs []error
	for _, p := range headerPlaceholder.FindAllString(value, -1) {
		if _, known := placeholderValue(p, &pagi.Scope{}); !known {
			errs = append(errs, pagi.BadOption(option, "%s: there is no placeholder %s; there are {client}, {host}, {scheme}, {method}, {path}, {query} and {header:NAME}", name, p))
		}
	}
	return errors.Join(errs...)
}

// apply changes the headers of a message. scope is the request's.
func (r *ProxyHeaderRules) apply(h *pagi.Headers, scope *pagi.Scope) {
	for _, name := range r.Unset {
		prefix, wild := strings.CutSuffix(name, "*")
		if !wild {
			h.Del(name)
			continue
		}
		*h = slices.DeleteFunc(*h, func(x pagi.Header) bool {
			return len(x.Name) >= len(prefix) && pagi.EqualFold(x.Name[:len(prefix)], prefix)
		})
	}
	if len(r.Set) == 0 && len(r.Add) == 0 {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(r.Set)) {
		h.Set(name, expandHeader(r.Set[name], scope))
	}
	for _, name := range slices.Sorted(maps.Keys(r.Add)) {
		h.Add(name, expandHeader(r.Add[name], scope))
	}
}

// expandHeader replaces the placeholders of a header's value.
func expandHeader(value string, scope *pagi.Scope) string {
	if strings.IndexByte(value, '{') < 0 {
		return value
	}
	return headerPlaceholder.ReplaceAllStringFunc(value, func(p string) string {
		text, _ := placeholderValue(p, scope) // Check knows them all
		return withoutControls(text)
	})
}

// withoutControls returns a text without its control characters, which a middleware may have put into
// the scope. Bytes that are not UTF-8 stay as they are.
func withoutControls(text string) string {
	isControl := func(c byte) bool { return c < ' ' || c == 0x7f }
	for i := range len(text) {
		if isControl(text[i]) {
			return string(slices.DeleteFunc([]byte(text), isControl))
		}
	}
	return text
}

// placeholderValue returns what a placeholder, with its braces, stands for.
func placeholderValue(placeholder string, scope *pagi.Scope) (value string, known bool) {
	switch name := placeholder[1 : len(placeholder)-1]; name {
	case "client":
		return scope.Client.Host, true
	case "host":
		return scope.Headers.Get("host"), true
	case "scheme":
		return webScheme(scope.Scheme), true
	case "method":
		return or(scope.Method, "GET"), true // a WebSocket's handshake has none
	case "path":
		root, rest := rawBelow(scope)
		return root + rest, true
	case "query":
		return scope.QueryString, true
	default:
		header, is := strings.CutPrefix(name, "header:")
		return scope.Headers.Joined(header), is && headername.IsToken(header)
	}
}
