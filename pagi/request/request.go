package request

import (
	"context"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Request is a view of one scope of type http, sse or websocket, and of the request body where there
// is one. Requests made of the same scope, or of copies of it, share the body through the scope's
// Stash: what one has read whole, another one finds. A Request is for one goroutine.
type Request struct {
	// Limits are those of reading the body. They may be set until it is read.
	Limits Limits

	ctx     context.Context
	scope   *pagi.Scope
	receive pagi.Receive
	query   *Values // nil: not parsed yet
	cookies *Values // nil: not parsed yet
}

// New returns a Request for the arguments of an application's Serve. A scope without a Stash is
// copied and gets one: a middleware passes on Scope, not its own scope.
func New(ctx context.Context, scope *pagi.Scope, receive pagi.Receive) *Request {
	if scope.Stash == nil {
		scope = scope.Clone()
		scope.Stash = &pagi.Stash{}
	}
	return &Request{ctx: ctx, scope: scope, receive: receive}
}

// Scope returns the scope of the request.
func (r *Request) Scope() *pagi.Scope { return r.scope }
