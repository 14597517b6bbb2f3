package engine_test

import (
	"context"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// refusal is a handshake whose response is complete at once.
type refusal struct{ gone chan struct{} }

func (h refusal) Accept(pagi.WebSocketAccept, engine.WebSocketHooks) (engine.WebSocketConn, error) {
	return nil, engine.ErrRefused
}

func (h refusal) Respond(context.Context, pagi.Event) error {
	close(h.gone)
	time.Sleep(10 * time.Millisecond) // a Receive that waits for it comes first
	return nil
}

func (h refusal) Gone() <-chan struct{} { return h.gone }
func (h refusal) GoneReason() string    { return "" }

// A Receive that waits while the handshake is refused is not told that the client left.
func TestReceiveWhileAWebSocketIsRefused(t *testing.T) {
	s := &engine.WebSocketSession{Scope: &pagi.Scope{Type: pagi.TypeWebSocket, Extensions: map[string]any{pagi.ExtDenialResponse: struct{}{}}}, Handshake: refusal{make(chan struct{})}}
	s.EndContext = func(cause error) { t.Errorf("the context is ended by %v", cause) }
	s.App = pagi.AppFunc(func(ctx context.Context, _ *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if _, err := receive(ctx); err != nil {
			return err
		}
		refused := make(chan error, 1)
		go func() {
			_, err := receive(ctx)
			refused <- err
		}()
		testkit.Eventually(t, "the wait", s.IsWaiting)
		if err := send(ctx, pagi.WebSocketHTTPResponseStart{Status: 401}); err != nil {
			return err
		}
		if err := testkit.Await(t, refused); err != engine.ErrRefused {
			t.Errorf("received with %v", err)
		}
		return nil
	})
	if out := s.Serve(t.Context()); out.Err != nil || out.Accepted {
		t.Errorf("%+v", out)
	}
}
