package server_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
	"github.com/pagi-go/pagi-bridge/server"
)

// A server runs until its context ends; server.SignalContext ends it at SIGTERM or
// SIGINT.
func ExampleServer() {
	app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Type != pagi.TypeHTTP {
			return pagi.Unsupported(scope)
		}
		err := send(ctx, pagi.HTTPResponseStart{Status: 200, Headers: pagi.NewHeaders("content-type", "text/plain")})
		if err != nil {
			return err
		}
		return send(ctx, pagi.HTTPResponseBody{Body: []byte("Hello from " + scope.Path)})
	})
	ctx, stop := server.SignalContext(context.Background())
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	s := &server.Server{
		App:      app,
		Listen:   []string{"127.0.0.1:0"},
		Lifespan: server.LifespanOff,
		Limits:   server.Limits{Limits: engine.Limits{MaxBodySize: 1 << 20}},
		Timeouts: server.Timeouts{Timeout: 30 * time.Second},
		Ready: func(addrs []net.Addr) error {
			go func() { // a visitor
				defer cancel()
				res, err := http.Get("http://" + addrs[0].String() + "/there")
				if err != nil {
					fmt.Println(err)
					return
				}
				defer res.Body.Close()
				body, err := io.ReadAll(res.Body)
				fmt.Println(res.Status, string(body), err)
			}()
			return nil
		},
	}
	fmt.Println(s.Run(ctx))
	// Output:
	// 200 OK Hello from /there <nil>
	// <nil>
}
