package pagi

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/pagi-go/pagi-bridge/internal/testkit"
)

// slowHandshake is one whose client takes its time over the answer.
type slowHandshake struct {
	asked, taken chan struct{}
	conn         *deadConn // nil: Accept fails
}

func (h *slowHandshake) Accept(WebSocketAccept, WebSocketHooks) (WebSocketConn, error) {
	close(h.asked)
	<-h.taken
	if h.conn == nil {
		return nil, errors.New("broken")
	}
	return h.conn, nil
}

func (h *slowHandshake) Respond(context.Context, Event) error { return nil }
func (h *slowHandshake) Gone() <-chan struct{}                { return nil }
func (h *slowHandshake) GoneReason() string                   { return "" }

// deadConn is a WebSocket on which nothing comes but the answer to a Close frame.
type deadConn struct {
	once sync.Once
	end  WebSocketEnd
	gone chan struct{}
}

func newDeadConn() *deadConn { return &deadConn{gone: make(chan struct{})} }

func (c *deadConn) finish(end WebSocketEnd) { c.once.Do(func() { c.end = end; close(c.gone) }) }

func (c *deadConn) Receive() (WebSocketReceive, error) {
	<-c.gone
	return WebSocketReceive{}, &c.end
}
func (c *deadConn) Send(context.Context, WebSocketSend) error { return nil }
func (c *deadConn) Ping()                                     {}
func (c *deadConn) SendClose(code int, reason string) {
	c.finish(WebSocketEnd{Code: code, Reason: reason, Peer: true})
}
func (c *deadConn) Close()      {}
func (c *deadConn) Drop()       { c.finish(WebSocketEnd{Code: closeAbnormal, Reason: "dropped"}) }
func (c *deadConn) Sent() int64 { return 0 }

// What comes while the handshake's answer is on its way does not wait for that.
func TestEndsWhileAWebSocketIsAccepted(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fails bool
		act   func(t *testing.T, s *WebSocketSession, c *call) // what happens meanwhile; then the application returns
		want  WebSocketOutcome
	}{
		{"a cut", false, cutWhileAccepting, WebSocketOutcome{Accepted: true, End: &WebSocketEnd{Code: closeAbnormal, Reason: ReasonServerShutdown}}},
		{"a cut, and the answer cannot be given", true, cutWhileAccepting, WebSocketOutcome{}},
		{"nothing", false, func(*testing.T, *WebSocketSession, *call) {}, WebSocketOutcome{Accepted: true, End: &WebSocketEnd{Code: closeNormal, Peer: true}}},
		{"a message, and a close", false, func(t *testing.T, s *WebSocketSession, c *call) {
			sent := make(chan error, 1)
			go func() {
				sent <- errors.Join(c.send(c.ctx, WebSocketSend{Text: "x"}), c.send(c.ctx, WebSocketClose{Code: 4000}))
			}()
			close(s.Handshake.(*slowHandshake).taken)
			if err := testkit.Await(t, sent); err != nil {
				t.Error(err)
			}
		}, WebSocketOutcome{Accepted: true, End: &WebSocketEnd{Code: 4000, Peer: true}}},
		{"a message that is not to wait", false, func(t *testing.T, _ *WebSocketSession, c *call) {
			ctx, cancel := context.WithCancel(c.ctx)
			cancel()
			if err := c.send(ctx, WebSocketSend{Text: "x"}); !errors.Is(err, context.Canceled) {
				t.Errorf("sent with %v", err)
			}
		}, WebSocketOutcome{Accepted: true, End: &WebSocketEnd{Code: closeNormal, Peer: true}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := &slowHandshake{asked: make(chan struct{}), taken: make(chan struct{})}
			if !tt.fails {
				h.conn = newDeadConn()
			}
			s := &WebSocketSession{Scope: &Scope{Type: TypeWebSocket}, Handshake: h}
			accepted, returned := make(chan error, 1), make(chan struct{})
			s.App = AppFunc(func(ctx context.Context, scope *Scope, receive Receive, send Send) error {
				defer close(returned)
				if _, err := receive(ctx); err != nil {
					return err
				}
				go func() { accepted <- send(ctx, WebSocketAccept{}) }()
				testkit.Await(t, h.asked)
				tt.act(t, s, &call{ctx: ctx, scope: scope, receive: receive, send: send})
				return nil
			})
			outcome := make(chan WebSocketOutcome, 1)
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

func cutWhileAccepting(t *testing.T, s *WebSocketSession, c *call) {
	s.Cut(ReasonServerShutdown)
	ev, err := c.receive(c.ctx)
	if want := (WebSocketDisconnect{closeAbnormal, ReasonServerShutdown}); ev != want || err != nil {
		t.Errorf("received %v, %v", ev, err)
	}
	if err := c.send(c.ctx, WebSocketSend{Text: "to nobody"}); err != nil {
		t.Error(err)
	}
}
