package middleware

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// requiredClaims has the values of which a claim must have one, by the name of the claim. No values
// mean that any value will do.
type requiredClaims map[string][]string

// parseClaims reads an option: a value or a list of values by the name of the claim.
func parseClaims(option string, given map[string]any) (requiredClaims, error) {
	required := requiredClaims{}
	for _, name := range slices.Sorted(maps.Keys(given)) {
		values, ok := claimTexts(given[name])
		if !ok || name == "" {
			return nil, pagi.BadOption(option, "%q must be a text, a number, true or false, or a list of these", name)
		}
		required[name] = values
	}
	return required, nil
}

// missing returns the name of a claim that has none of its values, or "".
func (r requiredClaims) missing(claims map[string]any) string {
	for _, name := range slices.Sorted(maps.Keys(r)) {
		has, ok := claimTexts(claim(claims, name))
		if !ok || len(has) == 0 || len(r[name]) > 0 && !slices.ContainsFunc(has, func(v string) bool { return slices.Contains(r[name], v) }) {
			return name
		}
	}
	return ""
}

// claim returns a claim. A name with dots also leads into objects: "realm_access.roles".
func claim(claims map[string]any, name string) any {
	if value, ok := claims[name]; ok {
		return value
	}
	for i := range len(name) {
		if name[i] == '.' {
			if inner, ok := claims[name[:i]].(map[string]any); ok {
				return claim(inner, name[i+1:])
			}
		}
	}
	return nil
}

// claimTexts returns a value, or the values of a list, as text.
func claimTexts(value any) (texts []string, ok bool) {
	switch v := value.(type) {
	case []any:
		for _, item := range v {
			if _, nested := item.([]any); nested {
				return nil, false
			}
			text, ok := claimTexts(item)
			if !ok {
				return nil, false
			}
			texts = append(texts, text...)
		}
		return texts, true
	case []string:
		return v, true
	}
	text, ok := claimText(value)
	return []string{text}, ok
}

// claimText returns a value that is no list as text.
func claimText(value any) (text string, ok bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case bool:
		return strconv.FormatBool(v), true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), true
	case int:
		return strconv.Itoa(v), true
	case int64:
		return strconv.FormatInt(v, 10), true
	case uint64:
		return strconv.FormatUint(v, 10), true
	}
	return "", false
}

// scopesOf returns the scopes that a token grants: the claim scope (RFC 8693 section 4.2), a text
// with spaces, or scp, which others use.
func scopesOf(claims map[string]any) []string {
	var scopes []string
	for _, name := range []string{"scope", "scp"} {
		texts, _ := claimTexts(claims[name])
		for _, text := range texts {
			scopes = append(scopes, strings.Fields(text)...)
		}
	}
	return scopes
}
