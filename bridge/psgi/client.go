package psgi

import (
	"context"
	"os"

	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// client sends an answer to the client as events.
type client struct {
	scope *pagi.Scope
	send  pagi.Send
}

// inform sends an interim response.
func (c client) inform(ctx context.Context, head *wire.Head) error {
	return c.send(ctx, pagi.HTTPResponseInformational{Status: head.Status, Headers: head.Headers})
}

func (c client) start(ctx context.Context, head *wire.Head) error {
	return c.send(ctx, pagi.HTTPResponseStart{Status: head.Status, Headers: head.Headers})
}

func (c client) body(ctx context.Context, b []byte, more bool) error {
	return c.send(ctx, pagi.HTTPResponseBody{Body: b, More: more})
}

// hasTaken reports whether the server no longer uses the last piece of body. When the client has
// left, a write that was given up may still use it.
func (c client) hasTaken(ctx context.Context, last bool) bool {
	if last && c.scope.Connection != nil {
		return c.scope.Connection.ResponseComplete() // cheaper than asking ctx, which has ended, too, for its cause
	}
	return ctx.Err() == nil
}

// file sends a part of a file as the rest of the body.
func (c client) file(ctx context.Context, f *os.File, offset, length int64) error {
	return c.send(ctx, pagi.HTTPResponseBody{FH: f, Offset: offset, Length: length})
}
