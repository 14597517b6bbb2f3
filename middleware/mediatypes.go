package middleware

import (
	"slices"
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/headername"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// mediaTypes are media types and ranges of them: "text/html", "text/*", "*+json", "*/*".
type mediaTypes []string

// have reports whether one of the types stands for a Content-Type, whose parameters do not count.
func (types mediaTypes) have(contentType string) bool {
	contentType, _, _ = strings.Cut(contentType, ";")
	contentType = strings.Trim(contentType, " \t")
	return contentType != "" && slices.ContainsFunc(types, func(t string) bool { return isOfType(contentType, t) })
}

func isOfType(contentType, t string) bool {
	if t == "*/*" {
		return true
	}
	if suffix, ok := strings.CutPrefix(t, "*"); ok {
		at := len(contentType) - len(suffix)
		return at > 0 && pagi.EqualFold(contentType[at:], suffix)
	}
	if major, ok := strings.CutSuffix(t, "*"); ok {
		return len(contentType) > len(major) && pagi.EqualFold(contentType[:len(major)], major)
	}
	return pagi.EqualFold(contentType, t)
}

// checkMediaTypes reports what is neither a media type nor a range of them.
func checkMediaTypes(option string, types []string) error {
	for _, t := range types {
		major, minor, ok := strings.Cut(t, "/")
		if suffix, isSuffix := strings.CutPrefix(t, "*+"); isSuffix {
			major, minor, ok = "x", suffix, true
		}
		isRange := major == "*" && minor == "*"
		if !ok || !isRange && (!isMediaName(major) || minor != "*" && !isMediaName(minor)) {
			return pagi.BadOption(option, "%q is no media type as text/html, text/*, *+json or */*", t)
		}
	}
	return nil
}

func isMediaName(s string) bool { return headername.IsToken(s) && !strings.Contains(s, "*") }
