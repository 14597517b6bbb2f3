package response

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/reply"
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
	grant := reply.CORS{
		Origin: c.Origin, Credentials: c.Credentials, Expose: strings.Join(c.Expose, ", "),
		Methods: strings.Join(c.Methods, ", "), Headers: strings.Join(c.Headers, ", "),
	}
	if c.MaxAge > 0 {
		grant.MaxAge = strconv.FormatInt(int64(c.MaxAge/time.Second), 10)
	}
	grant.Each(func(name, value string) { r.Header(name, value) })
	return r
}
