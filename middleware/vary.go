package middleware

import (
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// varyOn notes in Vary that the response depends on the request header called name, in lower case.
func varyOn(h *pagi.Headers, name string) {
	if h.HasToken("vary", name) || h.HasToken("vary", "*") {
		return
	}
	if before := strings.Trim(h.Joined("vary"), " ,"); before != "" {
		h.Del("vary")
		name = before + ", " + name
	}
	h.Add("vary", name)
}
