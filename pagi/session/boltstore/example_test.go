package boltstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pagitest"
	"github.com/pagi-go/pagi-bridge/pagi/session"
	"github.com/pagi-go/pagi-bridge/pagi/session/boltstore"
)

// counter counts the requests of a client.
var counter = pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type != pagi.TypeHTTP {
		return pagi.Unsupported(scope)
	}
	s, _ := session.FromScope(scope)
	n, err := session.Value[int](s, "count")
	var missing *session.KeyError
	if err != nil && !errors.As(err, &missing) {
		return err
	}
	if err := s.Set("count", n+1); err != nil {
		return err
	}
	return errors.Join(
		send(ctx, pagi.HTTPResponseStart{Status: 200}),
		send(ctx, pagi.HTTPResponseBody{Body: fmt.Append(nil, n+1)}))
})

func ExampleStore() {
	dir, err := os.MkdirTemp("", "sessions")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	app := session.Manager{Store: &boltstore.Store{Path: filepath.Join(dir, "sessions.db")}}.Wrap(counter)

	// The lifespan scope opens and closes the file.
	err = pagitest.Run(context.Background(), app, func(client *pagitest.Client) error {
		fmt.Println(client.Get("/").Text(), client.Get("/").Text())
		return nil
	})
	fmt.Println(err)
	// Output:
	// 1 2
	// <nil>
}
