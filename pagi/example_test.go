package pagi_test

import (
	"context"
	"fmt"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
)

// An application declines the scopes that it does not know, and answers the others by
// sending events.
func ExampleApp() {
	app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Type != pagi.TypeHTTP {
			return pagi.Unsupported(scope)
		}
		if err := send(ctx, pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-type", "text/plain")}); err != nil {
			return err
		}
		return send(ctx, pagi.HTTPResponseBody{Body: []byte("Hello from PAGI")})
	})
	res := pagitest.New(app).Get("/")
	fmt.Println(res.Status, string(res.Body))
	// Output: 200 Hello from PAGI
}
