package reply

import (
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// CORS is what a response grants to pages of other origins (the Fetch standard, section 3.3). An
// empty field stands for no header.
type CORS struct {
	Origin                           string
	Credentials                      bool
	Expose, Methods, Headers, MaxAge string
}

// Each calls set for each header of the grant. Without an Origin nothing is granted.
func (c CORS) Each(set func(name, value string)) {
	if c.Origin == "" {
		return
	}
	set("access-control-allow-origin", c.Origin)
	if c.Credentials {
		set("access-control-allow-credentials", "true")
	}
	for _, h := range [...]struct{ name, value string }{
		{"access-control-expose-headers", c.Expose}, {"access-control-allow-methods", c.Methods},
		{"access-control-allow-headers", c.Headers}, {"access-control-max-age", c.MaxAge},
	} {
		if h.value != "" {
			set(h.name, h.value)
		}
	}
}

// Vary adds names of request headers on which a response depends to its header vary, unless they are
// there.
func Vary(h *pagi.Headers, names ...string) {
	for _, name := range names {
		if h.HasToken("vary", name) || h.HasToken("vary", "*") {
			continue
		}
		all := strings.ToLower(name)
		if before := h.Joined("vary"); before != "" {
			all = before + ", " + all
		}
		h.Set("vary", all)
	}
}
