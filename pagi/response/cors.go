package response

import (
	"errors"
	"strconv"
	"strings"
	"time"
)

// CORS says which pages of other origins may read a response (the Fetch standard, section 3.2).
type CORS struct {
	// Origin is the origin that may, as the request's Origin header has it; "*" means all.
	Origin string
	// Credentials allows requests with cookies. All origins together cannot have it.
	Credentials bool
	// Expose are the headers that the page may read besides the usual ones.
	Expose []string
	// Methods, Headers and MaxAge answer a preflight request: what a request may have, and for how
	// long the browser remembers that.
	Methods, Headers []string
	MaxAge           time.Duration
}

var errCredentialsForAll = errors.New(`response: CORS with credentials needs an origin, and not "*"`)

// CORS adds the headers for pages of other origins. An empty Origin adds only Vary.
func (r *Response) CORS(c CORS) *Response {
	if c.Origin != "*" {
		r.Vary("origin")
	}
	switch {
	case c.Origin == "":
		return r
	case c.Origin == "*" && c.Credentials:
		return r.fail(errCredentialsForAll)
	}
	r.Header("access-control-allow-origin", c.Origin)
	if c.Credentials {
		r.Header("access-control-allow-credentials", "true")
	}
	for _, list := range []struct {
		name  string
		items []string
	}{{"expose-headers", c.Expose}, {"allow-methods", c.Methods}, {"allow-headers", c.Headers}} {
		if len(list.items) > 0 {
			r.Header("access-control-"+list.name, strings.Join(list.items, ", "))
		}
	}
	if c.MaxAge > 0 {
		r.Header("access-control-max-age", strconv.FormatInt(int64(c.MaxAge/time.Second), 10))
	}
	return r
}
