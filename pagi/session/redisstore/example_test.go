package redisstore_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/session"
	"github.com/pagi-go/pagi-bridge/pagi/session/redisstore"
)

// setter sets a value under the path, and answers with the number of values.
var setter = pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type != pagi.TypeHTTP {
		return pagi.Unsupported(scope)
	}
	s, _ := session.FromScope(scope)
	if scope.Path != "/" {
		if err := s.Set(scope.Path, 1); err != nil {
			return err
		}
	}
	body := fmt.Append(nil, len(s.Keys()))
	return errors.Join(
		send(ctx, pagi.HTTPResponseStart{Status: 200}),
		send(ctx, pagi.HTTPResponseBody{Body: body}))
})

func ExampleStore() {
	m := session.Manager{Store: &redisstore.Store{URL: "redis://localhost:6379/0"}}
	app := m.Wrap(setter) // lifespan startup connects, and fails without a Redis
	_ = app
	fmt.Println(m.Check())

	m.Store = &redisstore.Store{URL: "localhost"}
	fmt.Println(m.Check() != nil)
	// Output:
	// <nil>
	// true
}
