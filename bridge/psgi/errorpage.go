package psgi

import (
	"context"
	"strings"

	"github.com/pagi-go/pagi-bridge/bridge/pool"
	"github.com/pagi-go/pagi-bridge/internal/errorpage"
	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
)

// errorPage answers with the Perl error and its stack. It is used only in development.
func errorPage(ctx context.Context, abort *pool.AbortError, to client) error {
	status := abortStatus(abort.Kind)
	message, stack, _ := strings.Cut(abort.Message, "\n")
	page, err := errorpage.Render(errorpage.Failure{Status: status, Message: message, Stack: stack, Scope: to.scope})
	if err != nil {
		return err
	}
	headers := pagi.NewHeaders("content-type", errorpage.ContentType, "cache-control", "no-store")
	return reply.Send(ctx, to.scope, to.send, status, headers, page)
}
