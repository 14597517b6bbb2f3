package apps

import (
	"strconv"
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// quality returns the weight a request gives to want in one of its Accept headers (RFC 9110 section
// 12.4.2): the first of the given names that the header has decides. It returns -1 when the header
// has none of them.
func quality(headers pagi.Headers, header string, names ...string) float64 {
	for _, name := range names {
		for value := range headers.Values(header) {
			for item := range strings.SplitSeq(value, ",") {
				item, params, _ := strings.Cut(item, ";")
				if pagi.EqualFold(strings.TrimSpace(item), name) {
					return weight(params)
				}
			}
		}
	}
	return -1
}

// weight reads the q parameter. It returns 1 where there is none, and 0 where it is not a number.
func weight(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(param), "=")
		if pagi.EqualFold(strings.TrimSpace(name), "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil || q < 0 || q > 1 {
				return 0
			}
			return q
		}
	}
	return 1
}
