package site

import (
	"context"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// named adds the mount's name to the log records of failed requests.
func named(mount string, app pagi.App) pagi.App {
	note := pagi.NewMountNote(mount)
	return pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Type != pagi.TypeLifespan {
			scope.Notes.Add(note)
		}
		return app.Serve(ctx, scope, receive, send)
	})
}
