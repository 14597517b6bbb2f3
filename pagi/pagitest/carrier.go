package pagitest

import (
	"context"
	"testing"

	"github.com/pagi-go/pagi-bridge/pagi"
	"github.com/pagi-go/pagi-bridge/pagi/engine"
)

// Carrier takes a client's requests to its application by a real server. Package
// pagi/pagitest/socket has one. A test makes it and puts it into Client.Via; the client calls it.
type Carrier interface {
	// Start serves h until Stop. After an error nothing is served. A *lifespan.Error is in the
	// chain of an error that the application has answered to its startup.
	Start(ctx context.Context, h Hosting) error
	// Stop shuts the application down and ends the server. Without a Start it does nothing.
	Stop(ctx context.Context) error
	// Request connects and sends the head of a request: the Method, Target and Headers of scope.
	Request(ctx context.Context, scope *pagi.Scope) (Wire, error)
	// WebSocket connects and sends a handshake with the Target and Headers of scope. refusal is a
	// Wire from which the server's answer can be read, if it is no 101; conn is nil then.
	WebSocket(ctx context.Context, scope *pagi.Scope) (conn WebSocketWire, headers pagi.Headers, refusal Wire, err error)
}

// Hosting is what a Carrier serves.
type Hosting struct {
	App pagi.App
	// Lifespan says that the application's lifespan is to be run.
	Lifespan bool
	// Observer is to be told of each request that has ended.
	Observer engine.Observer
}

// Wire is one request on a connection of its own. One goroutine may write while another reads.
type Wire interface {
	// Write sends a piece of the request body, and End its end.
	Write(piece []byte) error
	End(trailers pagi.Headers) error
	// Next returns what comes next from the server: HTTPResponseInformational, HTTPResponseStart,
	// HTTPResponseBody for each piece that was read, HTTPResponseTrailers. After a complete
	// response the error is io.EOF.
	Next() (pagi.Event, error)
	// Close drops the connection. Any goroutine may call it.
	Close() error
}

// WebSocketWire is the client's end of an open WebSocket. All methods may be called at any time.
type WebSocketWire interface {
	Send(pagi.WebSocketReceive) error
	// Receive returns the next message. The error that ends it is a *engine.WebSocketEnd.
	Receive() (pagi.WebSocketSend, error)
	// Close sends a Close frame; code 1005 stands for one without a code.
	Close(code int, reason string) error
	// Drop ends the connection without one. A real connection cannot carry the reason.
	Drop(reason string)
	// Mute stops the answers to pings. Pings returns how many have come.
	Mute()
	Pings() int
}

// DefaultVia, if set, makes the Carrier of each client whose Via is nil. It may return nil.
// socket.Main sets it for all tests of a package, before the first of them runs.
var DefaultVia func() Carrier

// InMemory skips a test that makes sense only without a socket, if DefaultVia makes Carriers. why
// says what the test needs that a connection does not have.
func InMemory(t testing.TB, why string) {
	t.Helper()
	if DefaultVia != nil && DefaultVia() != nil {
		t.Skip("only in memory: " + why)
	}
}

// via returns the started carrier for a request; nil: it has none.
func (c *Client) via(r *request) (Carrier, error) {
	if r.slow {
		return nil, nil
	}
	if c.Via == nil && DefaultVia != nil {
		c.Via = DefaultVia()
	}
	if c.Via == nil || c.served {
		return c.Via, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout())
	defer cancel()
	if err := c.Via.Start(ctx, Hosting{App: pagi.AppFunc(host), Observer: engine.ObserverFunc(hostDone)}); err != nil {
		return nil, err
	}
	c.served = true
	return c.Via, nil
}

// startVia starts the carrier with the application's lifespan.
func (c *Client) startVia(ctx context.Context) error {
	if c.served {
		if err := c.Via.Stop(ctx); err != nil {
			return err
		}
	}
	app := pagi.AppFunc(func(ctx context.Context, scope *pagi.Scope, receive pagi.Receive, send pagi.Send) error {
		if scope.Type != pagi.TypeLifespan {
			return host(ctx, scope, receive, send)
		}
		return c.App.Serve(ctx, scope, receive, func(ctx context.Context, ev pagi.Event) error {
			if _, ok := ev.(pagi.LifespanStartupComplete); ok {
				c.state = scope.State // read once Start has returned
			}
			return send(ctx, ev)
		})
	})
	c.served = false
	if err := c.Via.Start(ctx, Hosting{App: app, Lifespan: true, Observer: engine.ObserverFunc(hostDone)}); err != nil {
		c.state = nil
		return err
	}
	c.served, c.started = true, true
	return nil
}
