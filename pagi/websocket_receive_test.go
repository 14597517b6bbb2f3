package pagi

import (
	"context"
	"testing"
	"time"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// refusal is a handshake whose response is complete at once.
type refusal struct{ gone chan struct{} }

func (h refusal) Accept(WebSocketAccept, WebSocketHooks) (WebSocketConn, error) {
	return nil, errRefused
}

func (h refusal) Respond(context.Context, Event) error {
	close(h.gone)
	time.Sleep(10 * time.Millisecond) // a Receive that waits for it comes first
	return nil
}

func (h refusal) Gone() <-chan struct{} { return h.gone }
func (h refusal) GoneReason() string    { return "" }

// A Receive that waits while the handshake is refused is not told that the client left.
func TestReceiveWhileAWebSocketIsRefused(t *testing.T) {
	s := &WebSocketSession{Scope: &Scope{Type: TypeWebSocket, Extensions: webSocketExtensions}, Handshake: refusal{make(chan struct{})}}
	s.EndContext = func(cause error) { t.Errorf("the context is ended by %v", cause) }
	s.App = AppFunc(func(ctx context.Context, _ *Scope, receive Receive, send Send) error {
		if _, err := receive(ctx); err != nil {
			return err
		}
		refused := make(chan error, 1)
		go func() {
			_, err := receive(ctx)
			refused <- err
		}()
		testkit.Eventually(t, "the wait", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return s.waiting
		})
		if err := send(ctx, WebSocketHTTPResponseStart{Status: 401}); err != nil {
			return err
		}
		if err := testkit.Await(t, refused); err != errRefused {
			t.Errorf("received with %v", err)
		}
		return nil
	})
	if out := s.Serve(t.Context()); out.Err != nil || out.Accepted {
		t.Errorf("%+v", out)
	}
}
