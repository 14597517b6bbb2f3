// Package response is what an application uses to answer: a value that is built, can be looked at,
// and is sent once, in the form that the scope's protocol has for it.
//
//	return response.JSON(user).Status(201).Header("location", "/users/7").Send(ctx, scope, send)
//
// The files: response.go has the value and sending, text.go the constructors of short bodies,
// redirect.go redirects, problem.go error answers (RFC 9457), cookie.go cookies, cors.go answers
// for pages of other origins, stream.go bodies written piece by piece, file.go files, after.go work
// after the answer.
//
// The package may import package pagi, and must know nothing of servers.
package response

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/pagi-go/pagi-bridge/internal/reply"
	"github.com/pagi-go/pagi-bridge/pagi"
)

var (
	// ErrSent is the error of sending a Response a second time.
	ErrSent = errors.New("response: sent already")
	// ErrStarted is the error of sending a Response in an exchange that has one already, of another
	// Response or of plain events.
	ErrStarted = errors.New("response: the exchange has a response already")
)

// Response is an answer. Its methods change it and return it, so that calls can be chained. A
// mistake, such as a header with a line break, is kept: Err and Send return the first one.
//
// A Response is sent once, by one goroutine.
type Response struct {
	status  int
	headers pagi.Headers
	content content
	after   []func(context.Context) error
	err     error
	sent    atomic.Bool
}

// content is the body of a Response.
type content interface {
	// send sends the whole answer. headers is a copy, which send may change.
	send(ctx context.Context, to *target, status int, headers pagi.Headers) error
}

// New returns a response with a status and no body. A status from 200 to 999 is allowed.
func New(status int) *Response {
	r := &Response{content: text{}}
	return r.Status(status)
}

// with returns a response of 200 with a body of that type.
func with(contentType string, c content) *Response {
	r := &Response{status: http.StatusOK, content: c}
	if contentType != "" {
		r.headers = append(make(pagi.Headers, 0, 4), pagi.Header{Name: "content-type", Value: contentType})
	}
	return r
}

func (r *Response) fail(err error) *Response {
	if r.err == nil {
		r.err = err
	}
	return r
}

// Status sets the status, 200 to 999.
func (r *Response) Status(status int) *Response {
	if status < 200 || status > 999 {
		return r.fail(fmt.Errorf("response: the status must be 200 to 999, is %d", status))
	}
	r.status = status
	return r
}

// Header sets a header, in place of all that have its name.
func (r *Response) Header(name, value string) *Response {
	if err := (pagi.Headers{{Name: name, Value: value}}).Validate("response"); err != nil {
		return r.fail(err)
	}
	r.headers.Set(name, value)
	return r
}

// AddHeader adds a header to those that have its name.
func (r *Response) AddHeader(name, value string) *Response {
	if err := (pagi.Headers{{Name: name, Value: value}}).Validate("response"); err != nil {
		return r.fail(err)
	}
	r.headers.Add(name, value)
	return r
}

// Vary adds names of request headers on which the answer depends, unless they are there.
func (r *Response) Vary(names ...string) *Response {
	for _, name := range names {
		if err := (pagi.Headers{{Name: "vary", Value: name}}).Validate("response"); err != nil {
			return r.fail(err)
		}
	}
	reply.Vary(&r.headers, names...)
	return r
}

// StatusCode returns the status.
func (r *Response) StatusCode() int { return r.status }

// Headers returns a copy of the headers as built so far. Send adds those of the body's length.
func (r *Response) Headers() pagi.Headers { return r.headers.Clone() }

// Body returns the body if it is in memory; ok is false for a stream or a file.
func (r *Response) Body() (body []byte, ok bool) {
	t, ok := r.content.(text)
	return t, ok
}

// Err returns the first mistake in building the response.
func (r *Response) Err() error { return r.err }

// Send sends the response, in the form of the scope's protocol: an http response, the response that
// declines an event stream, or the one that denies a WebSocket handshake. Where the server cannot
// deny with a response (pagi.ExtDenialResponse), the handshake is refused with a plain 403.
//
// The answer to HEAD, and one with the status 204 or 304, has no body. A second Send returns ErrSent.
// In an http scope whose exchange has a response already, Send returns ErrStarted.
func (r *Response) Send(ctx context.Context, scope *pagi.Scope, send pagi.Send) error {
	if r.sent.Swap(true) {
		return ErrSent
	}
	if err := r.refuse(scope); err != nil {
		if c, ok := r.content.(io.Closer); ok {
			err = errors.Join(err, c.Close())
		}
		return err
	}
	if err := r.content.send(ctx, &target{scope, send}, r.status, slices.Clone(r.headers)); err != nil {
		return err
	}
	return r.runAfter(ctx, scope)
}

// refuse says why the response cannot be sent.
func (r *Response) refuse(scope *pagi.Scope) error {
	if r.err != nil {
		return r.err
	}
	switch scope.Type {
	case pagi.TypeHTTP, pagi.TypeSSE, pagi.TypeWebSocket:
	default:
		return pagi.Unsupported(scope)
	}
	if c := scope.Connection; c != nil && c.ResponseStarted() && c.DisconnectReason() == "" {
		return ErrStarted
	}
	return nil
}

// target is where a response goes.
type target struct {
	scope *pagi.Scope
	send  pagi.Send
}

// start sends the event that begins the response.
func (t *target) start(ctx context.Context, status int, headers pagi.Headers, trailers bool) error {
	switch {
	case t.scope.Type == pagi.TypeHTTP:
		return t.send(ctx, pagi.HTTPResponseStart{Status: status, Headers: headers, Trailers: trailers})
	case t.scope.Type == pagi.TypeSSE:
		return t.send(ctx, pagi.SSEHTTPResponseStart{Status: status, Headers: headers})
	case t.denies():
		return t.send(ctx, pagi.WebSocketHTTPResponseStart{Status: status, Headers: headers})
	}
	return t.send(ctx, pagi.WebSocketClose{})
}

// denies reports whether a websocket scope can have a response.
func (t *target) denies() bool { return t.scope.HasExtension(pagi.ExtDenialResponse) }

// piece sends a piece of the body.
func (t *target) piece(ctx context.Context, body []byte, more bool) error {
	switch {
	case t.scope.Type == pagi.TypeHTTP:
		return t.send(ctx, pagi.HTTPResponseBody{Body: body, More: more})
	case t.scope.Type == pagi.TypeSSE:
		return t.send(ctx, pagi.SSEHTTPResponseBody{Body: body, More: more})
	case t.denies():
		return t.send(ctx, pagi.WebSocketHTTPResponseBody{Body: body, More: more})
	}
	return nil // the close was all
}

// hasBody reports whether an answer with this status has a body.
func (t *target) hasBody(status int) bool {
	return t.scope.Method != http.MethodHead && status != http.StatusNoContent && status != http.StatusNotModified
}

// text is a body in memory.
type text []byte

func (b text) send(ctx context.Context, to *target, status int, headers pagi.Headers) error {
	body := []byte(b)
	switch {
	case status == http.StatusNoContent || status == http.StatusNotModified:
		headers.Del("content-length")
		body = nil
	default:
		headers.Set("content-length", strconv.Itoa(len(body)))
	}
	if !to.hasBody(status) {
		body = nil
	}
	if err := to.start(ctx, status, headers, false); err != nil {
		return err
	}
	return to.piece(ctx, body, false)
}
