package pagitest

import (
	"fmt"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Exchange is one request that the test drives step by step. The test reads each event when the
// application has sent it. With the Stream option it also writes the request body piece by piece.
// The application's Send returns when the test has taken the event. Finish must be called.
//
// Over a socket the events are what the client reads: HTTPResponseStart, then HTTPResponseBody for
// each piece, whatever the scope's type is. Send returns when the server lets it.
type Exchange struct {
	// Scope is the scope with which the application was called. If it declines an sse scope it is
	// called again with an http scope, as by a server. Over a socket it is nil if the server has
	// answered the request itself.
	Scope *pagi.Scope

	client *Client
	origin origin
	course course
}

// course is an exchange in memory (local) or over a Carrier (remote).
type course interface {
	write(piece []byte) error
	closeBody() error
	next() (ev pagi.Event, ok bool)
	disconnect(reason string)
	finish() *Response
}

// Begin sends a request and returns while the application handles it.
func (c *Client) Begin(method, target string, opts ...Option) *Exchange {
	return c.begin(method, target, newRequest(opts))
}

func (c *Client) begin(method, target string, r *request) *Exchange {
	if !r.stream && len(r.chunks) == 0 {
		r.chunks = [][]byte{nil}
	}
	e := &Exchange{client: c, origin: c.origin(pathOf(target), r)}
	if via, err := c.via(r); via != nil || err != nil {
		e.beginRemote(via, err, method, target, r)
	} else {
		e.beginLocal(method, target, r)
	}
	return e
}

// Write sends a piece of the request body and returns when the application has received it. It
// needs the Stream option.
func (e *Exchange) Write(piece string) error { return e.course.write([]byte(piece)) }

// CloseBody ends the request body. It needs the Stream option.
func (e *Exchange) CloseBody() error { return e.course.closeBody() }

// Next returns the next event that the application sends. ok is false if there is none because the
// application has returned or the client has disconnected.
func (e *Exchange) Next() (ev pagi.Event, ok bool) { return e.course.next() }

// Disconnect makes the client go away for the given reason, a constant of package pagi. The state
// changes in the order the specification demands. Over a socket the connection is dropped, and the
// reason is the one that the server finds.
func (e *Exchange) Disconnect(reason string) { e.course.disconnect(reason) }

// Finish takes the remaining events, waits until the application has returned, and returns the
// whole response.
func (e *Exchange) Finish() *Response {
	res := e.course.finish()
	e.client.learn(e.origin, res.Headers)
	return res
}

func errLate(c *Client) error {
	return fmt.Errorf("no complete response within %v", c.timeout())
}
