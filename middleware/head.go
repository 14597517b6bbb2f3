package middleware

import (
	"context"

	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// Head lets an application that only knows GET answer HEAD: the application is called with the
// method GET. Its headers are sent, Content-Length included; its body is not.
type Head struct{}

func init() { parts.Middleware[Head]("head") }

// Check reports nothing: there are no options.
func (m Head) Check() error { return nil }

// Wrap puts m around next.
func (m Head) Wrap(next pagi.App) pagi.App {
	on := onward(next)
	return wrapPassage(m, next, func(ctx context.Context, p passage) error {
		if p.scope.Type != pagi.TypeHTTP || p.scope.Method != "HEAD" {
			return on(ctx, p)
		}
		p.change().Method = "GET"
		send := p.sender()
		return next.Serve(ctx, p.scope, p.receive, func(ctx context.Context, ev pagi.Event) error {
			switch e := ev.(type) {
			case pagi.HTTPResponseStart:
				e.Trailers = false
				return send(ctx, e)
			case pagi.HTTPResponseBody:
				if e.More && e.File == "" && e.FH == nil {
					return nil
				}
				return send(ctx, pagi.HTTPResponseBody{})
			case pagi.HTTPResponseTrailers:
				return nil
			}
			return send(ctx, ev)
		})
	})
}
