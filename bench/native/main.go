// Command native serves Go applications by package server: "Hello World" at /, the files
// of a directory below /files, and at /events a stream of the events that a POST to
// /events sends to everybody. Its arguments are the address to listen at and the directory.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"sync"

	"github.com/pagi-go/pagi-bridge/apps"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/request"
	"github.com/pagi-go/pagi-bridge/server"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: native address directory")
		os.Exit(2)
	}
	debug.SetGCPercent(400) // as the command does
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	app := &apps.URLMap{Mounts: []apps.Mount{
		{Path: "/", App: pagi.AppFunc(hello)},
		{Path: "/events", App: &broadcast{clients: map[chan string]struct{}{}}},
		{Path: "/files", App: &apps.File{Root: os.Args[2]}},
	}}
	if err := (&server.Server{App: app, Listen: []string{os.Args[1]}}).Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "native:", err)
		os.Exit(1)
	}
}

var helloHeaders = pagi.NewHeaders("content-type", "text/plain")

func hello(ctx context.Context, scope *pagi.Scope, _ pagi.Receive, send pagi.Send) error {
	if scope.Type != pagi.TypeHTTP {
		return pagi.Unsupported(scope)
	}
	if err := send(ctx, pagi.HTTPResponseStart{Status: 200, Headers: helloHeaders}); err != nil {
		return err
	}
	return send(ctx, pagi.HTTPResponseBody{Body: []byte("Hello World")})
}

// broadcast gives every client every event.
type broadcast struct {
	mu      sync.Mutex
	clients map[chan string]struct{}
}

func (b *broadcast) Serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	switch scope.Type {
	case pagi.TypeSSE:
		return b.follow(ctx, send)
	case pagi.TypeHTTP:
		body, err := io.ReadAll(request.BodyReader(ctx, receive))
		if err != nil {
			return err
		}
		b.mu.Lock()
		for client := range b.clients {
			client <- string(body)
		}
		b.mu.Unlock()
		return hello(ctx, scope, receive, send)
	}
	return pagi.Unsupported(scope)
}

func (b *broadcast) follow(ctx context.Context, send pagi.Send) error {
	events := make(chan string, 100)
	b.mu.Lock()
	b.clients[events] = struct{}{}
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		delete(b.clients, events)
		b.mu.Unlock()
	}()
	if err := send(ctx, pagi.SSEStart{}); err != nil {
		return err
	}
	for {
		select {
		case data := <-events:
			if err := send(ctx, pagi.SSESend{Data: data}); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}
