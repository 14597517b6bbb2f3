package server

import (
	"context"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
)

func TestHello(t *testing.T) {
	app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Type != pagi.TypeHTTP {
			return pagi.Unsupported(scope)
		}
		if err := send(ctx, pagi.HTTPResponseStart{Status: 200}); err != nil {
			return err
		}
		return send(ctx, pagi.HTTPResponseBody{Body: []byte("hello " + scope.Path)})
	})
	ctx, cancel := context.WithCancel(t.Context())
	ready := make(chan []net.Addr, 1)
	done := make(chan error, 1)
	s := &Server{App: app, Listen: []string{"127.0.0.1:0"}, Ready: func(a []net.Addr) { ready <- a }}
	go func() { done <- s.Run(ctx) }()
	addr := (<-ready)[0].String()
	res, err := http.Get("http://" + addr + "/x")
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(res.Body)
	res.Body.Close()
	t.Logf("%s %v %q", res.Status, res.Header, body)
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
