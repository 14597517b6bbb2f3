package chat

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/pagi-go/pagi-bridge/pagi"
	helper "github.com/pagi-go/pagi-bridge/pagi/request"
)

// New returns the chat with a WebSocket that is written against the events alone.
func New(grace time.Duration) pagi.App {
	s := NewState(grace)
	return s.Site(pagi.AppFunc(s.serve))
}

// pingInterval is how often the server pings a client, so that proxies do not take the connection for dead.
const pingInterval = 25 * time.Second

// serve is one connection. Messages come from other goroutines, and Send must not be called by two at once. So
// one goroutine sends, and what it is behind with waits in a channel.
func (s *State) serve(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
	if scope.Type != pagi.TypeWebSocket {
		return pagi.Unsupported(scope)
	}
	var hello Hello
	if err := helper.Decode(helper.ParseValues(scope.QueryString), &hello); err != nil {
		return err
	}
	if _, err := receive(ctx); err != nil { // WebSocketConnect
		return err
	}
	if err := send(ctx, pagi.WebSocketAccept{}); err != nil {
		return err
	}
	if err := send(ctx, pagi.WebSocketKeepalive{Interval: pingInterval, Timeout: pingInterval}); err != nil {
		return err
	}
	waiting := make(chan any, 200)
	var sending sync.WaitGroup
	var failed error
	sending.Go(func() { failed = sendAll(ctx, waiting, send) })
	visit := s.Enter(hello, func(v any) bool {
		select {
		case waiting <- v:
			return true
		default:
			return false // the client is too slow
		}
	})
	err := receiveAll(ctx, receive, visit)
	visit.Leave() // from here on nothing is put into the channel
	close(waiting)
	sending.Wait()
	if err == nil {
		err = failed
	}
	return err
}

func sendAll(ctx context.Context, waiting <-chan any, send pagi.Send) (failed error) {
	for v := range waiting { // to the end, also after a failure
		text, err := json.Marshal(v)
		if err == nil && failed == nil {
			err = send(ctx, pagi.WebSocketSend{Text: string(text)})
		}
		if failed == nil {
			failed = err
		}
	}
	return failed
}

func receiveAll(ctx context.Context, receive pagi.Receive, visit *Visit) error {
	for {
		event, err := receive(ctx)
		if err != nil {
			return err
		}
		switch event := event.(type) {
		case pagi.WebSocketReceive:
			if !event.Binary {
				visit.Receive(event.Text)
			}
		case pagi.WebSocketDisconnect:
			return nil
		}
	}
}
