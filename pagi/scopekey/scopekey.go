// Package scopekey names the values that middleware and helpers store in a scope by
// pagi.Scope.With. Perl applications find them under the same names. The helpers of the neighbouring
// packages read them: request.Request and session.FromScope, for example.
package scopekey

import "github.com/pagi-go/pagi-bridge/pagi"

// Keys of scope values. The type of the value stands behind each.
const (
	PathParams           = "path_params"                 // map[string]string: the router's parameters, decoded
	Router               = "pagi.router"                 // pagi.Route: the route that has matched
	Session              = "pagi.session"                // *session.Session
	SessionID            = "pagi.session_id"             // string
	Cookies              = "pagi.cookies"                // map[string]string: the request's cookies
	CookieJar            = "pagi.cookie_jar"             // the cookies that the response will set
	ParsedBody           = "pagi.parsed_body"            // the request body as a form or as JSON
	RawBody              = "pagi.raw_body"               // []byte: the request body
	Auth                 = pagi.AuthKey                  // pagi.Auth
	AuthClaims           = "pagi.auth.claims"            // map[string]any: what a token says of the client
	CSRFToken            = "csrf_token"                  // *middleware.CSRFToken, whose String is the token
	RequestID            = "request_id"                  // string
	PreferredContentType = "pagi.preferred_content_type" // string: the media type the client likes best
	AcceptedTypes        = "pagi.accepted_types"         // []string: what the client accepts, best first
	OriginalMethod       = "original_method"             // string: before MethodOverride or Head
	OriginalPath         = "original_path"               // string: before Rewrite
	OriginalClient       = "original_client"             // pagi.Addr: the peer, before ReverseProxy
	SSERetry             = "pagi.sse.retry"              // time.Duration: the reconnection time of event streams
	WebSocketRateLimit   = "pagi.websocket.rate_limit"   // *middleware.WebSocketBudget: what is left of the limit
)
