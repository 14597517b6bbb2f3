package engine

import (
	"context"
	"runtime/debug"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// serveGuarded calls app and returns a panic of its as a *pagi.PanicError.
func serveGuarded(ctx context.Context, app pagi.App, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &pagi.PanicError{Value: p, Stack: debug.Stack()}
		}
	}()
	return app.Serve(ctx, scope, receive, send)
}
