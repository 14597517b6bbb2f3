package site

import (
	"context"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// noted adds the mount's name to the log records of failed requests. It is used by its pointer, by which apps.URLMap
// tells that a mount with several hosts is one application.
type noted struct {
	note *pagi.LogNote
	app  pagi.App
}

func named(mount string, app pagi.App) pagi.App { return &noted{pagi.NewMountNote(mount), app} }

// Serve implements pagi.App.
func (n *noted) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type != pagi.TypeLifespan {
		scope.Notes.Add(n.note)
	}
	return n.app.Serve(ctx, scope, receive, send)
}
