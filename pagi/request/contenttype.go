package request

import (
	"strings"

	"github.com/pagi-go/pagi-bridge/internal/headername"
)

// ContentType returns the media type of the body in lower case, without parameters, and its
// parameters with names in lower case: "multipart/form-data" and boundary, for example. A header that
// is missing or malformed gives "". Of a parameter that comes twice, the first counts. Unlike
// mime.ParseMediaType, it takes no fault in a parameter for a fault of the type.
func (r *Request) ContentType() (mediaType string, params map[string]string) {
	return parseContentType(r.Header("content-type"))
}

func parseContentType(header string) (mediaType string, params map[string]string) {
	value, rest := cutUnquoted(header, ';')
	mediaType = strings.ToLower(strings.Trim(value, " \t"))
	major, minor, ok := strings.Cut(mediaType, "/")
	if !ok || !headername.IsToken(major) || !headername.IsToken(minor) {
		return "", nil
	}
	for rest != "" {
		var param string
		param, rest = cutUnquoted(rest, ';')
		name, text, ok := strings.Cut(param, "=")
		name = strings.ToLower(strings.Trim(name, " \t"))
		if !ok || !headername.IsToken(name) {
			continue
		}
		if params == nil {
			params = make(map[string]string)
		}
		if _, twice := params[name]; !twice {
			params[name] = unquote(strings.Trim(text, " \t"))
		}
	}
	return mediaType, params
}
