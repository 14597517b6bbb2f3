package psgi

import (
	"bytes"
	"context"
	_ "embed"
	"html/template"
	"strings"

	"github.com/pagi-go/pagi-bridge/bridge/pool"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
)

//go:embed errorpage.html
var errorPageSource string

var errorPageTemplate = template.Must(template.New("errorpage").Parse(errorPageSource))

// errorPage answers with the Perl error and its stack. Only in development.
func errorPage(ctx context.Context, abort *pool.AbortError, to client) error {
	status := abortStatus(abort.Kind)
	message, stack, _ := strings.Cut(abort.Message, "\n")
	var page bytes.Buffer
	err := errorPageTemplate.Execute(&page, map[string]any{
		"Status":  status,
		"Text":    statusText(status),
		"Message": message,
		"Stack":   strings.TrimRight(stack, "\n"),
	})
	if err != nil {
		return err
	}
	headers := pagi.NewHeaders(
		"content-type", "text/html; charset=utf-8",
		"cache-control", "no-store",
	)
	return reply.Send(ctx, to.scope, to.send, status, headers, page.Bytes())
}
