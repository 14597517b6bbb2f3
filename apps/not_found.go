package apps

import (
	"context"
	"net/http"

	"github.com/pagi-go/pagi-bridge/internal/parts"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// NotFound answers every request with the same status and body. It serves as the last application
// of a Cascade or as the Default of a URLMap.
type NotFound struct {
	// Body is the response's; "" means "Not Found".
	Body string `yaml:"body"`
	// BodyFunc makes a body for the request at hand and takes the place of Body.
	BodyFunc func(scope *pagi.Scope) string `yaml:"-"`
	// ContentType is "text/plain; charset=utf-8" when empty.
	ContentType string `yaml:"content_type"`
	// Status is 404 when 0.
	Status int `yaml:"status"`
}

func init() { parts.App[NotFound]("not_found", "body") }

// Check reports a Status outside 200 to 999 and a ContentType that cannot go into
// a header.
func (n *NotFound) Check() error {
	if n.Status != 0 && (n.Status < 200 || n.Status > 999) {
		return pagi.BadOption("status", "must be 200 to 999, is %d", n.Status)
	}
	return headerSafe("content_type", n.ContentType)
}

// Serve answers; an sse or websocket scope is declined with the same response.
func (n *NotFound) Serve(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
	body := or(n.Body, "Not Found")
	if n.BodyFunc != nil && scope.Type != pagi.TypeLifespan {
		body = n.BodyFunc(scope)
	}
	status := n.Status
	if status == 0 {
		status = http.StatusNotFound
	}
	headers := pagi.NewHeaders("content-type", or(n.ContentType, "text/plain; charset=utf-8"))
	return reply.Send(ctx, scope, send, status, headers, []byte(body))
}
