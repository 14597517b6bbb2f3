package middleware

import (
	"strings"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/scopekey"
)

// identified returns scope with the identity of the client. It hides claims that a middleware further
// out has stored, because they belong to the identity that auth replaces.
func identified(scope *pagi.Scope, auth pagi.Auth, claims map[string]any) *pagi.Scope {
	scope.Notes.SetUser(auth.Username)
	scope = scope.With(pagi.AuthKey, auth)
	if claims != nil || scope.Value(scopekey.AuthClaims) != nil {
		scope = scope.With(scopekey.AuthClaims, claims)
	}
	return scope
}

// keptPrivate returns a Send that keeps shared caches from storing an answer that is for one user, unless
// the application says what caches may do. Of requests with Authorization, caches know that (RFC 9111
// section 3.5); of requests with a cookie they do not.
func keptPrivate(scope *pagi.Scope, send pagi.Send) pagi.Send {
	if scope.Type != pagi.TypeHTTP {
		return send
	}
	return editStart(send, func(h *pagi.Headers) {
		if !h.Has("cache-control") {
			h.Add("cache-control", "private")
		}
	})
}

// challenge returns a value of WWW-Authenticate (RFC 9110 section 11.6.1). params are name, value
// pairs; a parameter without a value is left out.
func challenge(scheme string, params ...string) string {
	var b strings.Builder
	b.WriteString(scheme)
	separator := " "
	for i := 0; i < len(params); i += 2 {
		if params[i+1] == "" {
			continue
		}
		b.WriteString(separator + params[i] + `="` + quotes.Replace(params[i+1]) + `"`)
		separator = ", "
	}
	return b.String()
}

// quotes escapes what must be escaped in a quoted-string (RFC 9110 section 5.6.4).
var quotes = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// hasControl reports whether s contains a control character, which neither credentials nor the name
// of a user may have (RFC 7617 section 2). REMOTE_USER and logs would pass it on.
func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 })
}
