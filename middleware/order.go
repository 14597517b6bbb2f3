package middleware

import (
	"fmt"
	"slices"
	"strings"
)

// Recommended is an order in which all middleware can do its work, by the names of site files, the
// outermost first. docs/middleware.md explains it.
var Recommended = []string{
	"reverse_proxy", "request_id", "access_log", "runtime", "trusted_hosts", "https_redirect", "security_headers", "headers", "cors",
	"gzip", "head", "error_handler", "healthcheck", "maintenance", "timeout", "access", "rate_limit", "conditional_get", "etag",
	"content_length", "debug", "cookie", "session", "auth_oidc", "auth_forward", "basic_auth", "bearer_auth", "csrf", "method_override",
	"rewrite", "static", "xsendfile", "content_negotiation", "json_body", "form_body", "websocket_compression", "websocket_heartbeat",
	"websocket_rate_limit", "sse_heartbeat", "sse_retry", "delayed", "lint",
}

// orderRule says that one middleware must be outside another. because says what happens otherwise.
type orderRule struct{ outer, inner, because string }

// orderRules are the pairs that do not work in the other order. INNER stands for the inner one.
var orderRules = slices.Concat(
	rulesOf("reverse_proxy", "INNER sees the proxy instead of the client",
		"access_log", "trusted_hosts", "https_redirect", "maintenance", "access", "rate_limit", "cors", "session", "auth_oidc", "auth_forward", "csrf", "cookie", "debug"),
	rulesOf("request_id", "INNER writes lines without an id", "access_log"),
	rulesOf("cors", "INNER refuses preflight requests, which bring no credentials", "auth_oidc", "auth_forward", "basic_auth", "bearer_auth"),
	rulesOf("session", "INNER finds no session", "csrf"),
	rulesOf("gzip", "INNER sees the compressed body, which comes in pieces", "etag", "content_length", "debug"),
	rulesOf("conditional_get", "it sees no ETag", "etag"),
	rulesOf("head", "INNER sees no body in responses to HEAD", "etag", "content_length"),
	rulesOf("error_handler", "it does not see the failures of INNER", "timeout", "auth_oidc", "auth_forward", "session"),
	rulesOf("security_headers", "the pages of INNER go out without the headers", "error_handler"),
	rulesOf("access_log", "the responses of INNER are not logged", "error_handler", "maintenance", "access", "rate_limit"),
	rulesOf("rate_limit", "guesses of passwords are not limited", "basic_auth"),
)

func rulesOf(outer, because string, inner ...string) (rules []orderRule) {
	for _, name := range inner {
		rules = append(rules, orderRule{outer, name, strings.ReplaceAll(because, "INNER", name)})
	}
	return rules
}

// Misplacement is a middleware that stands inside one that must be inside it.
type Misplacement struct {
	// Index is the position of the middleware that should be further out.
	Index int
	// Text says what is wrong and what to do.
	Text string
}

// Misplaced returns the middleware of a list, the outermost first, that should be further out. The
// names are those of site files; others are passed over.
func Misplaced(names []string) (all []Misplacement) {
	for i, name := range names {
		for _, rule := range orderRules {
			if rule.outer != name {
				continue
			}
			if slices.Contains(names[:i], rule.inner) && !slices.Contains(names[:slices.Index(names, rule.inner)], name) {
				all = append(all, Misplacement{i, fmt.Sprintf("%s must stand in front of %s, because otherwise %s", name, rule.inner, rule.because)})
			}
		}
	}
	return all
}
