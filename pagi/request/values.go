package request

import (
	"fmt"
	"iter"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Pair is one name and value.
type Pair struct{ Name, Value string }

// Values are names and values in the order in which the client sent them: a query, a form, cookies. A
// name may come several times. Get takes the first value, where Perl's PAGI takes the last; Last and
// All have the others. A nil Values is empty and ready for use.
type Values []Pair

// Get returns the first value called name, or "".
func (v Values) Get(name string) string {
	for i := range v {
		if v[i].Name == name {
			return v[i].Value
		}
	}
	return ""
}

// Last returns the last value called name, or "".
func (v Values) Last(name string) string {
	for i := len(v) - 1; i >= 0; i-- {
		if v[i].Name == name {
			return v[i].Value
		}
	}
	return ""
}

// All returns all values called name, in order; nil if there are none.
func (v Values) All(name string) (all []string) {
	for i := range v {
		if v[i].Name == name {
			all = append(all, v[i].Value)
		}
	}
	return all
}

// Has reports whether there is a value called name.
func (v Values) Has(name string) bool {
	for i := range v {
		if v[i].Name == name {
			return true
		}
	}
	return false
}

// Names yields each name once, in the order of their first values.
func (v Values) Names() iter.Seq[string] {
	return func(yield func(string) bool) {
		seen := make(map[string]bool, len(v))
		for i := range v {
			if name := v[i].Name; !seen[name] {
				seen[name] = true
				if !yield(name) {
					return
				}
			}
		}
	}
}

// Add appends a value.
func (v *Values) Add(name, value string) { *v = append(*v, Pair{name, value}) }

// Encode returns the values as a query string or URL-encoded form, in their order.
func (v Values) Encode() string {
	var b strings.Builder
	for i, pair := range v {
		if i > 0 {
			b.WriteByte('&')
		}
		escapeValue(&b, pair.Name)
		b.WriteByte('=')
		escapeValue(&b, pair.Value)
	}
	return b.String()
}

// escapeValue writes s in the encoding application/x-www-form-urlencoded of the URL standard.
func escapeValue(b *strings.Builder, s string) {
	const hex = "0123456789ABCDEF"
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '*' || c == '-' || c == '.' || c == '_':
			b.WriteByte(c)
		case c == ' ':
			b.WriteByte('+')
		default:
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
}

// ParseValues decodes a query string or a URL-encoded form. Pairs are separated by "&" alone, a
// plus sign is a space, a name without "=" has an empty value, and empty pairs are left out. A
// percent sign that begins no encoded byte stands for itself, as browsers and Perl's libraries read
// it. Bytes that are not UTF-8 are kept.
func ParseValues(s string) Values {
	v, _ := parseValues(s, nil)
	return v
}

// ValuesError says where a query string or a URL-encoded form is malformed. It is a *pagi.StatusError
// of 400 to errors.As.
type ValuesError struct {
	// Pair is the number of the pair, from 1.
	Pair int
	// Problem completes the sentence "pair N ...".
	Problem string
}

func (e *ValuesError) Error() string { return fmt.Sprintf("pair %d %s", e.Pair, e.Problem) }

// As implements the interface of errors.As.
func (e *ValuesError) As(target any) bool {
	status, ok := target.(**pagi.StatusError)
	if ok {
		*status = &pagi.StatusError{Status: http.StatusBadRequest, Message: e.Error(), Err: e}
	}
	return ok
}

// ParseValuesStrict is ParseValues that refuses what is malformed: percent-encoding without two hex
// digits, and text that is not UTF-8. The error is a *ValuesError.
func ParseValuesStrict(s string) (Values, error) {
	return parseValues(s, func(pair int, text string, whole bool) error {
		switch {
		case !whole:
			return &ValuesError{pair, "has a percent sign without two hex digits behind it"}
		case !utf8.ValidString(text):
			return &ValuesError{pair, "is not UTF-8"}
		}
		return nil
	})
}

// parseValues decodes pairs. check, if there is one, is called for each name and value; whole is
// false if a percent sign in it began no encoded byte.
func parseValues(s string, check func(pair int, text string, whole bool) error) (Values, error) {
	if s == "" {
		return nil, nil
	}
	v := make(Values, 0, min(1+strings.Count(s, "&"), 64))
	for n := 1; s != ""; n++ {
		var pair string
		pair, s, _ = strings.Cut(s, "&")
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		for _, text := range []*string{&name, &value} {
			decoded, whole := unescapeValue(*text)
			if check != nil {
				if err := check(n, decoded, whole); err != nil {
					return nil, err
				}
			}
			*text = decoded
		}
		v = append(v, Pair{name, value})
	}
	return v, nil
}

// unescapeValue decodes percent-encoding and plus signs. whole is false if a percent sign was left.
func unescapeValue(s string) (decoded string, whole bool) {
	i := strings.IndexAny(s, "%+")
	if i < 0 {
		return s, true
	}
	whole = true
	b := make([]byte, 0, len(s))
	b = append(b, s[:i]...)
	for ; i < len(s); i++ {
		switch c := s[i]; c {
		case '+':
			b = append(b, ' ')
		case '%':
			if i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]) {
				b = append(b, unhex(s[i+1])<<4|unhex(s[i+2]))
				i += 2
				continue
			}
			whole = false
			b = append(b, c)
		default:
			b = append(b, c)
		}
	}
	return string(b), whole
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c >= 'a':
		return c - 'a' + 10
	}
	return c - 'A' + 10
}
