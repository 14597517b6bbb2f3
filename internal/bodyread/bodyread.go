// Package bodyread lets a reader of request bodies say what it is waiting for. After the last piece
// of a body, a Receive waits for the disconnect. A reader that begins there would wait as long as the
// client stays. With a context made by Want, Receive fails with ErrRead instead.
package bodyread

import (
	"context"
	"errors"
)

// ErrRead is the error of a Receive that is asked for a request body when all of it has been received
// before.
var ErrRead = errors.New("the request body has been read already: by the application or a middleware that called receive and did not pass the body on")

type key struct{}

type wanting struct{ context.Context }

// Value implements context.Context.
func (w wanting) Value(k any) any {
	if k == (key{}) {
		return true
	}
	return w.Context.Value(k)
}

// Want returns a context that tells a Receive that its caller waits for a piece of the request body
// and for nothing else.
func Want(ctx context.Context) context.Context { return wanting{ctx} }

// Wanted reports whether ctx was made by Want, or of such a context.
func Wanted(ctx context.Context) bool { return ctx.Value(key{}) != nil }
