package session

import (
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// State carries the token of a session: from the client in the headers of a request, and to the
// client in those of a response. Its methods are called concurrently.
type State interface {
	// Extract returns the token that the client has sent, or "".
	Extract(scope *pagi.Scope) string
	// Inject adds the token to the headers of a response. maxAge is how long the session may live;
	// 0 means without a limit.
	Inject(scope *pagi.Scope, headers *pagi.Headers, token string, maxAge time.Duration) error
	// Clear makes the client forget its token.
	Clear(scope *pagi.Scope, headers *pagi.Headers)
}

// carriers returns the names of the headers that carry the token in a request and in a response, as
// far as they are known.
func carriers(state State) (request, response string) {
	switch state := state.(type) {
	case CookieState:
		return "cookie", "set-cookie"
	case HeaderState:
		return state.name(), state.name()
	case BearerState:
		return "authorization", ""
	}
	return "", ""
}
