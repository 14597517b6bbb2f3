package pagitest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// beginRemote makes a handshake over a Carrier.
func (w *WebSocket) beginRemote(c *Client, via Carrier, err error, target string, r *request) {
	close(w.answered)
	ctx, stop := context.WithTimeout(context.Background(), c.timeout())
	w.stop = stop
	if err != nil {
		w.refuse(&Response{Err: fmt.Errorf("pagitest: %w", err)})
		return
	}
	w.visit = c.visit(r)
	r.edits = nil // the visit does that
	scope := c.webSocketScope(target, r)
	scope.Headers.Add(visitHeader, w.visit.id)
	conn, headers, refusal, err := via.WebSocket(ctx, scope)
	go w.await()
	if w.visit.isCalled() {
		w.Scope = w.visit.scope
	}
	switch {
	case err != nil:
		w.refuse(&Response{Err: fmt.Errorf("pagitest: %w", err)})
	case conn == nil:
		w.refuse(readWhole(ctx, refusal))
	default:
		w.client, w.Accepted = conn, true
		w.Subprotocol = headers.Get("sec-websocket-protocol")
		w.Headers = slices.DeleteFunc(headers, func(h pagi.Header) bool { return handshakeHeaders[h.Name] })
		context.AfterFunc(ctx, func() { conn.Drop(pagi.ReasonClientTimeout) })
		if r.leave != nil {
			go func() {
				select {
				case <-w.visit.leaves:
					conn.Drop(r.leave.reason)
				case <-ctx.Done():
				}
			}()
		}
	}
}

// handshakeHeaders are those of a 101 that the server adds.
var handshakeHeaders = map[string]bool{
	"upgrade": true, "connection": true, "date": true,
	"sec-websocket-accept": true, "sec-websocket-protocol": true, "sec-websocket-extensions": true,
}

// await waits for the end of the application, if it was called.
func (w *WebSocket) await() {
	defer close(w.returned)
	if w.visit.isCalled() {
		<-w.visit.ended
		w.outcome.Err = w.visit.appErr
	}
}

// refuse notes the answer to a handshake that was not accepted.
func (w *WebSocket) refuse(res *Response) {
	w.Response, w.refusal = res, res
	if w.visit == nil {
		close(w.returned)
		return
	}
	<-w.returned
	switch {
	case w.outcome.Err != nil:
		res.Err = w.outcome.Err
	case res.Err == nil && w.visit.isCalled() && !w.visit.hasSent():
		res.Err = errNoAnswer
	}
}

// readWhole reads a response to its end.
func readWhole(ctx context.Context, wire Wire) *Response {
	defer context.AfterFunc(ctx, func() { _ = wire.Close() })()
	e := &remote{res: &Response{}, timed: ctx, events: make(chan pagi.Event), wire: wire, answered: make(chan struct{}), finished: make(chan struct{})}
	go e.read()
	for _, ok := e.next(); ok; _, ok = e.next() {
	}
	if e.readErr != nil {
		e.res.Err = errors.Join(e.res.Err, e.readErr)
	}
	_ = wire.Close()
	return e.res
}
