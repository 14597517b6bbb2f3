package mux_test

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pagi-go/pagi-bridge/bridge/mux"
	"github.com/pagi-go/pagi-bridge/bridge/wire"
	"github.com/pagi-go/pagi-bridge/internal/testkit"
	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

func TestGateway(t *testing.T) {
	for _, c := range conformanceCases(t, "gateway.json") {
		t.Run(c.Name, func(t *testing.T) { testGateway(t, c) })
	}
}

// gatewayUnderTest is a mux.Conn, whose worker and client are the test.
type gatewayUnderTest struct {
	*peer
	conn   *mux.Conn
	ended  chan error
	client *scriptedClient
}

func testGateway(t *testing.T, c conformanceCase) {
	g := newGatewayUnderTest(t)
	for i, s := range c.Steps {
		t.Logf("step %d", i+1)
		switch {
		case s.Open != nil:
			g.client = open(t, g.conn, s.Open, s.Receives)
		case s.Send != nil:
			g.send(s.Send)
		case s.Expect != nil:
			g.expect(s.Expect)
		case s.Sent != nil:
			g.client.expect(t, s.Sent)
		case s.Leave != nil:
			g.client.leave(s.Leave)
		case s.Returns != nil:
			err := testkit.Await(t, g.client.returned)
			if (err == nil) != (*s.Returns == "") || err != nil && !strings.Contains(err.Error(), *s.Returns) {
				t.Fatalf("the request ends with %v, want %q", err, *s.Returns)
			}
		case s.Settled:
			g.strict = s.Strict
			g.settled(func(wire.Frame) bool { return false })
		case s.Hold != nil:
			g.client.hold(*s.Hold)
		case s.Violation != "":
			if err := testkit.Await(t, g.ended); !strings.Contains(err.Error(), s.Violation) {
				t.Fatalf("the connection ends with %v, want %q", err, s.Violation)
			}
			return
		}
	}
}

// newGatewayUnderTest greets, with 64 KiB windows and no other features than a worker in Perl has.
func newGatewayUnderTest(t *testing.T) *gatewayUnderTest {
	t.Helper()
	gateway, worker := sockets(t)
	g := &gatewayUnderTest{peer: newPeer(t, worker), ended: make(chan error, 1)}
	hello := wire.HelloPayload{Versions: wire.Supported, PID: 1, Token: "token", Offer: wire.Offer{Features: features}}
	if _, err := worker.Write(wire.AppendHello(nil, hello)); err != nil {
		t.Fatal(err)
	}
	line, err := mux.Answer(gateway, wire.Offer{Features: features | wire.FeaturePaths}, wire.FeatureScopes, nil)
	if err != nil {
		t.Fatal(err)
	}
	if welcome, err := g.read(); err != nil || welcome.Type != wire.Welcome {
		t.Fatalf("%s %v", welcome.Type, err)
	}
	ready := make(chan error, 1)
	g.conn = mux.New(line, mux.Options{Ping: mux.Ping{Every: -1}, Ready: func(err error) { ready <- err }})
	var running sync.WaitGroup
	running.Go(func() { g.ended <- g.conn.Run() })
	t.Cleanup(func() {
		g.conn.Close()
		running.Wait()
	})
	g.send(&frameCase{Type: "READY"})
	if err := testkit.Await(t, ready); err != nil {
		t.Fatal(err)
	}
	return g
}

// scriptedClient is a client that sends what the case says.
type scriptedClient struct {
	scope    *pagi.Scope
	control  engine.ConnectionControl
	events   chan pagi.Event // what the gateway receives
	sent     chan pagi.Event // what it has sent
	returned chan error
	cancel   context.CancelCauseFunc
	taking   sync.Mutex // held by a client that takes nothing
}

// hold has the client take nothing, or go on.
func (c *scriptedClient) hold(is bool) {
	if is {
		c.taking.Lock()
	} else {
		c.taking.Unlock()
	}
}

// open makes a request.
func open(t *testing.T, conn *mux.Conn, s *scopeCase, receives []*frameCase) *scriptedClient {
	t.Helper()
	c := &scriptedClient{events: make(chan pagi.Event, 10), sent: make(chan pagi.Event, 10), returned: make(chan error, 1)}
	c.scope = s.scope()
	if s.Type == "http" {
		c.scope.Connection = c.control.Connection()
	}
	for _, ev := range receives {
		c.events <- decodeCase(t, wire.ToWorker, ev)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	c.cancel = cancel
	t.Cleanup(func() { cancel(nil) })
	go func() {
		c.returned <- conn.Serve(ctx, c.scope, func(ctx context.Context) (pagi.Event, error) {
			select {
			case ev := <-c.events:
				return ev, nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}, func(_ context.Context, ev pagi.Event) error {
			c.taking.Lock()
			defer c.taking.Unlock()
			c.sent <- ev
			return nil
		})
	}()
	return c
}

// scope is the scope of a case as a server makes it.
func (s *scopeCase) scope() *pagi.Scope {
	number := func(text string) int {
		n, _ := strconv.Atoi(text) // cases are right, and "" is 0
		return n
	}
	scope := &pagi.Scope{
		Type: s.Type, HTTPVersion: s.HTTPVersion, Method: s.Method, Scheme: s.Scheme, Path: s.Path, RawPath: s.RawPath, Target: s.Target,
		QueryString: s.QueryString, RootPath: s.RootPath, Client: pagi.Addr{Host: s.Client, Port: number(s.ClientPort)},
		Server: pagi.Addr{Host: s.Server, Port: number(s.ServerPort)}, Subprotocols: s.Subprotocols, PAGI: pagi.Versions{WorkerNum: number(s.Worker)},
	}
	for _, h := range s.Headers {
		scope.Headers.Add(h[0], h[1])
	}
	for _, ext := range s.Extensions {
		if scope.Extensions == nil {
			scope.Extensions = map[string]any{}
		}
		scope.Extensions[ext[0]] = struct{}{}
	}
	return scope
}

// decodeCase makes an event of a case. TestEvents checks package wire, which is used here.
func decodeCase(t *testing.T, from wire.Direction, f *frameCase) pagi.Event {
	t.Helper()
	ev, err := wire.DecodeEvent(from, slices.Clone(f.payload(t)))
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

func (c *scriptedClient) expect(t *testing.T, want *frameCase) {
	t.Helper()
	got := testkit.Await(t, c.sent)
	if diff := cmp.Diff(decodeCase(t, wire.ToGateway, want), got, cmp.Transformer("empty", func(b []byte) string { return string(b) })); diff != "" {
		t.Fatal(diff)
	}
}

// leave has the client leave, as a server does it.
func (c *scriptedClient) leave(f *frameCase) {
	reason := f.Rest.value
	switch c.scope.Type {
	case pagi.TypeHTTP:
		callbacks, _ := c.control.Disconnect(reason)
		callbacks.Run()
	case pagi.TypeSSE:
		c.events <- pagi.SSEDisconnect{Reason: reason}
		return
	case pagi.TypeWebSocket:
		c.events <- pagi.WebSocketDisconnect{Code: f.Code, Reason: reason}
		return
	}
	c.cancel(&pagi.DisconnectError{Reason: reason})
}
