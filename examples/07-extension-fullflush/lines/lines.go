// Package lines is an application that uses an extension of the server where there is one.
package lines

import (
	"context"
	"fmt"

	"github.com/pagi-go/pagi-bridge/pagi"
)

const count = 3

// New returns the application.
func New() pagi.App { return pagi.AppFunc(lines) }

// lines sends events, because it shows one. The method Flush of a response.Writer sends the same event.
func lines(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
	if scope.Type != pagi.TypeHTTP {
		return pagi.Unsupported(scope)
	}
	if err := send(ctx, pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-type", "text/plain")}); err != nil {
		return err
	}
	for n := 1; n <= count; n++ {
		more := n < count
		if err := send(ctx, pagi.HTTPResponseBody{Body: fmt.Appendf(nil, "Line %d\n", n), More: more}); err != nil {
			return err
		}
		if more && scope.HasExtension(pagi.ExtFullFlush) {
			if err := send(ctx, pagi.HTTPFullFlush{}); err != nil {
				return err
			}
		}
	}
	return nil
}
