package response

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// maxCookie is how many bytes browsers keep of a cookie's name and value together, and of each
// attribute (RFC 6265bis section 5.6).
const (
	maxCookie    = 4096
	maxAttribute = 1024
)

// Cookie adds a cookie, with the attributes that net/http has for it. It is a mistake, and the
// response's Err, if a browser would drop the cookie: its name is no token; its value has
// characters that a value cannot have, or is longer than 4096 bytes together with the name; its
// name begins with __Secure- and it is not Secure, or with __Host- and it is not Secure, has a
// Domain, or another Path than "/"; it is Partitioned or has SameSite=None and is not Secure.
//
// An Expires or MaxAge of zero makes a cookie that ends with the browser's session. A value with
// spaces or commas is quoted, and read back without the quotes.
func (r *Response) Cookie(c *http.Cookie) *Response {
	if err := checkCookie(c); err != nil {
		return r.fail(fmt.Errorf("response: cookie %q: %w", c.Name, err))
	}
	return r.AddHeader("set-cookie", c.String())
}

// DeleteCookie makes the client forget a cookie. Path and domain must be those with which it was
// set; "" stands for "/" and for none.
func (r *Response) DeleteCookie(name, path, domain string) *Response {
	if path == "" {
		path = "/"
	}
	return r.Cookie(&http.Cookie{Name: name, Path: path, Domain: domain, MaxAge: -1, Expires: time.Unix(1, 0),
		Secure: hasPrefixFold(name, "__secure-") || hasPrefixFold(name, "__host-")})
}

type cookieError string

func (e cookieError) Error() string { return string(e) }

func checkCookie(c *http.Cookie) error {
	if err := c.Valid(); err != nil {
		return cookieError(strings.TrimPrefix(err.Error(), "http: "))
	}
	switch {
	case len(c.Name)+len(c.Value) > maxCookie:
		return cookieError(fmt.Sprintf("name and value have %d bytes, browsers keep %d", len(c.Name)+len(c.Value), maxCookie))
	case c.Path != "" && (c.Path[0] != '/' || strings.TrimSpace(c.Path) != c.Path):
		return cookieError(fmt.Sprintf("the path %q does not begin with a slash, or has a space at its end", c.Path))
	case len(c.Path) > maxAttribute || len(c.Domain) > maxAttribute:
		return cookieError(fmt.Sprintf("the path or domain has more than %d bytes", maxAttribute))
	case c.SameSite == http.SameSiteNoneMode && !c.Secure:
		return cookieError("SameSite=None needs Secure")
	case c.Partitioned && !c.Secure:
		return cookieError("Partitioned needs Secure")
	case hasPrefixFold(c.Name, "__secure-") && !c.Secure:
		return cookieError("a name with __Secure- needs Secure")
	case hasPrefixFold(c.Name, "__host-") && (!c.Secure || c.Domain != "" || c.Path != "/"):
		return cookieError("a name with __Host- needs Secure, the path / and no domain")
	}
	return nil
}

func hasPrefixFold(s, prefix string) bool {
	return len(s) >= len(prefix) && pagi.EqualFold(s[:len(prefix)], prefix)
}
