package engine_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// slowHandshake is one whose client takes its time over the answer.
type slowHandshake struct {
	asked, taken chan struct{}
	conn         *deadConn // nil: Accept fails
}

func (h *slowHandshake) Accept(pagi.WebSocketAccept, engine.WebSocketHooks) (engine.WebSocketConn, error) {
	close(h.asked)
	<-h.taken
	if h.conn == nil {
		return nil, errors.New("broken")
	}
	return h.conn, nil
}

func (h *slowHandshake) Respond(context.Context, pagi.Event) error { return nil }
func (h *slowHandshake) Gone() <-chan struct{}                     { return nil }
func (h *slowHandshake) GoneReason() string                        { return "" }

// deadConn is a WebSocket on which nothing comes but the answer to a Close frame.
type deadConn struct {
	once sync.Once
	end  engine.WebSocketEnd
	gone chan struct{}
}

func newDeadConn() *deadConn { return &deadConn{gone: make(chan struct{})} }

func (c *deadConn) finish(end engine.WebSocketEnd) { c.once.Do(func() { c.end = end; close(c.gone) }) }

func (c *deadConn) Receive() (pagi.WebSocketReceive, error) {
	<-c.gone
	return pagi.WebSocketReceive{}, &c.end
}
func (c *deadConn) Send(context.Context, pagi.WebSocketSend) error { return nil }
func (c *deadConn) Ping()                                          {}
func (c *deadConn) SendClose(code int, reason string) {
	c.finish(engine.WebSocketEnd{Code: code, Reason: reason, Peer: true})
}
func (c *deadConn) Close()      {}
func (c *deadConn) Drop()       { c.finish(engine.WebSocketEnd{Code: 1006, Reason: "dropped"}) }
func (c *deadConn) Sent() int64 { return 0 }

// What comes while the handshake's answer is on its way does not wait for that.
func TestEndsWhileAWebSocketIsAccepted(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fails bool
		act   func(t *testing.T, s *engine.WebSocketSession, c *call) // what happens meanwhile; then the application returns
		want  engine.WebSocketOutcome
	}{
		{"a cut", false, cutWhileAccepting, engine.WebSocketOutcome{Accepted: true, End: &engine.WebSocketEnd{Code: 1006, Reason: pagi.ReasonServerShutdown}}},
		{"a cut, and the answer cannot be given", true, cutWhileAccepting, engine.WebSocketOutcome{}},
		{"nothing", false, func(*testing.T, *engine.WebSocketSession, *call) {}, engine.WebSocketOutcome{Accepted: true, End: &engine.WebSocketEnd{Code: 1000, Peer: true}}},
		{"a message, and a close", false, func(t *testing.T, s *engine.WebSocketSession, c *call) {
			sent := make(chan error, 1)
			go func() {
				sent <- errors.Join(c.send(c.ctx, pagi.WebSocketSend{Text: "x"}), c.send(c.ctx, pagi.WebSocketClose{Code: 4000}))
			}()
			close(s.Handshake.(*slowHandshake).taken)
			if err := testkit.Await(t, sent); err != nil {
				t.Error(err)
			}
		}, engine.WebSocketOutcome{Accepted: true, End: &engine.WebSocketEnd{Code: 4000, Peer: true}}},
		{"a message that is not to wait", false, func(t *testing.T, _ *engine.WebSocketSession, c *call) {
			ctx, cancel := context.WithCancel(c.ctx)
			cancel()
			if err := c.send(ctx, pagi.WebSocketSend{Text: "x"}); !errors.Is(err, context.Canceled) {
				t.Errorf("sent with %v", err)
			}
		}, engine.WebSocketOutcome{Accepted: true, End: &engine.WebSocketEnd{Code: 1000, Peer: true}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := &slowHandshake{asked: make(chan struct{}), taken: make(chan struct{})}
			if !tt.fails {
				h.conn = newDeadConn()
			}
			s := &engine.WebSocketSession{Scope: &pagi.Scope{Type: pagi.TypeWebSocket}, Handshake: h}
			accepted, returned := make(chan error, 1), make(chan struct{})
			s.App = pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
				defer close(returned)
				if _, err := receive(ctx); err != nil {
					return err
				}
				go func() { accepted <- send(ctx, pagi.WebSocketAccept{}) }()
				testkit.Await(t, h.asked)
				tt.act(t, s, &call{ctx: ctx, scope: scope, receive: receive, send: send})
				return nil
			})
			outcome := make(chan engine.WebSocketOutcome, 1)
			go func() { outcome <- s.Serve(t.Context()) }()
			testkit.Await(t, returned)
			select {
			case <-h.taken:
			default:
				close(h.taken)
			}
			out := testkit.Await(t, outcome)
			if out.Err != nil || out.Accepted != tt.want.Accepted || (out.End == nil) != (tt.want.End == nil) || out.End != nil && *out.End != *tt.want.End {
				t.Errorf("%+v, end %+v", out, out.End)
			}
			if err := testkit.Await(t, accepted); err != nil {
				t.Errorf("accepted with %v", err)
			}
			if h.conn != nil {
				testkit.Await(t, h.conn.gone)
			}
		})
	}
}

func cutWhileAccepting(t *testing.T, s *engine.WebSocketSession, c *call) {
	s.Cut(pagi.ReasonServerShutdown)
	ev, err := c.receive(c.ctx)
	if want := (pagi.WebSocketDisconnect{Code: 1006, Reason: pagi.ReasonServerShutdown}); ev != want || err != nil {
		t.Errorf("received %v, %v", ev, err)
	}
	if err := c.send(c.ctx, pagi.WebSocketSend{Text: "to nobody"}); err != nil {
		t.Error(err)
	}
}
