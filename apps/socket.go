package apps

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/pubsub"
	"github.com/pagi-go/pagi-bridge/pagi/websocket"
)

// codeTryLater is the close code for a client that is too slow (IANA's registry of RFC 6455).
const codeTryLater = 1013

// socket is a WebSocket that is sent what a queue has. The goroutine that serves it receives; one
// more sends, and ends before that.
type socket struct {
	ctx   context.Context // ends when either side does
	end   context.CancelCauseFunc
	conn  *websocket.Conn
	queue *pubsub.Queue
}

// refuseSocket answers a scope that is no WebSocket.
func refuseSocket(ctx context.Context, scope *pagi.Scope, send pagi.Send) (done bool, err error) {
	switch scope.Type {
	case pagi.TypeWebSocket:
		return false, nil
	case pagi.TypeHTTP, pagi.TypeSSE:
		return true, reply.Text(ctx, scope, send, http.StatusBadRequest, "This is a WebSocket.")
	}
	return true, pagi.Unsupported(scope)
}

// newSocket returns a socket whose handshake is not answered yet. The caller must end it.
func newSocket(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send, limits pubsub.Limits) *socket {
	s := &socket{}
	s.ctx, s.end = context.WithCancelCause(ctx)
	limits.Ended = endSlow(s.end)
	s.queue = pubsub.NewQueue(limits)
	s.conn = websocket.New(s.ctx, scope, receive, send)
	return s
}

// close frees what the socket has.
func (s *socket) close() {
	s.end(nil)
	s.queue.Close()
}

// run sends what write makes of each message of the queue, while each receives. It returns when the
// connection has ended.
func (s *socket) run(ctx context.Context, send pagi.Send, write func(m *pubsub.Message) error, each func(pagi.WebSocketReceive) error) error {
	var sending sync.WaitGroup
	sending.Go(func() {
		for {
			m, err := s.queue.Next(s.ctx)
			if err == nil {
				err = write(&m)
			}
			if err != nil {
				s.end(err)
				return
			}
		}
	})
	err := s.conn.Each(each)
	s.end(nil)
	sending.Wait()
	var left *websocket.CloseError
	switch cause := context.Cause(s.ctx); {
	case ctx.Err() != nil || errors.As(cause, &left):
		return nil
	case errors.Is(cause, pubsub.ErrSlow):
		return send(ctx, pagi.WebSocketClose{Code: codeTryLater, Reason: "too slow"})
	case errors.Is(cause, pubsub.ErrClosed):
		return send(ctx, pagi.WebSocketClose{Code: websocket.CodeGoingAway})
	case !errors.Is(cause, context.Canceled):
		return cause
	}
	return err
}

// sendMessage sends a message as it was published.
func (s *socket) sendMessage(m *pubsub.Message) error {
	if m.Binary {
		return s.conn.SendBytes([]byte(m.Data))
	}
	return s.conn.SendText(m.Data)
}

// leftIsNil returns err unless the client has left.
func leftIsNil(ctx context.Context, err error) error {
	var left *websocket.CloseError
	if ctx.Err() != nil || errors.As(err, &left) {
		return nil
	}
	return err
}
