package psgi

import (
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// tidy mends header faults that applications get away with at other servers: a newline at the end
// of a value, a folded value (RFC 9112 section 5.2), a Content-Length without a value. Any other
// line break in a value is an error, which the server reports.
func tidy(headers *pagi.Headers) {
	empty := false
	for i, h := range *headers {
		if strings.ContainsAny(h.Value, "\r\n") {
			(*headers)[i].Value = unfold(strings.TrimRight(h.Value, " \t\r\n"))
		}
		empty = empty || h.Value == "" && pagi.EqualFold(h.Name, "content-length")
	}
	if empty {
		*headers = slices.DeleteFunc(*headers, func(h pagi.Header) bool {
			return h.Value == "" && pagi.EqualFold(h.Name, "content-length")
		})
	}
}

// unfold replaces each line break that a blank follows by a blank.
func unfold(value string) string {
	lines := strings.Split(strings.ReplaceAll(value, "\r\n", "\n"), "\n")
	for i, line := range lines[1:] {
		if line == "" || line[0] != ' ' && line[0] != '\t' {
			return value
		}
		lines[i+1] = strings.TrimLeft(line, " \t")
	}
	return strings.Join(lines, " ")
}
