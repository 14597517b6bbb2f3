package websocket

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// MessageError is a message of the client that the application cannot use: of the wrong kind, or not
// JSON.
type MessageError struct {
	// Code is the close code that fits: CodeUnsupportedData or CodeInvalidData.
	Code int
	// Problem says what is wrong with the message.
	Problem string
	// Err is the cause, if there is one.
	Err error
}

func (e *MessageError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("websocket: %s: %v", e.Problem, e.Err)
	}
	return "websocket: " + e.Problem
}

// Unwrap returns Err.
func (e *MessageError) Unwrap() error { return e.Err }

// Receive returns the next message of the client, a text or a binary one. Bytes are valid until the
// next call. When there are no more messages the error is a *CloseError; the functions given to
// OnClose have run then.
func (c *Conn) Receive() (pagi.WebSocketReceive, error) {
	if err := c.refuseState(open); err != nil {
		return pagi.WebSocketReceive{}, err
	}
	ev, err := c.receive(c.ctx)
	switch e := ev.(type) {
	case pagi.WebSocketReceive:
		return e, nil
	case pagi.WebSocketDisconnect:
		return pagi.WebSocketReceive{}, c.finish(&CloseError{e.Code, e.Reason})
	}
	var gone *pagi.DisconnectError
	switch {
	case errors.As(err, &gone):
		return pagi.WebSocketReceive{}, c.finish(&CloseError{CodeAbnormal, gone.Reason})
	case err == nil:
		err = fmt.Errorf("websocket: received an event of type %T", ev)
	}
	return pagi.WebSocketReceive{}, err
}

// ReceiveText returns the next message, which must be a text: for a binary one the error is a
// *MessageError, and the connection stays open.
func (c *Conn) ReceiveText() (string, error) {
	m, err := c.Receive()
	switch {
	case err != nil:
		return "", err
	case m.Binary:
		return "", &MessageError{Code: CodeUnsupportedData, Problem: "got a binary message instead of a text"}
	}
	return m.Text, nil
}

// ReceiveBytes returns the next message, which must be binary; see ReceiveText.
func (c *Conn) ReceiveBytes() ([]byte, error) {
	m, err := c.Receive()
	switch {
	case err != nil:
		return nil, err
	case !m.Binary:
		return nil, &MessageError{Code: CodeUnsupportedData, Problem: "got a text message instead of a binary one"}
	}
	return m.Bytes, nil
}

// ReceiveJSON decodes the next message, of either kind, into v. For a message that is not JSON, or
// does not fit v, the error is a *MessageError, and the connection stays open.
func (c *Conn) ReceiveJSON(v any) error {
	m, err := c.Receive()
	if err != nil {
		return err
	}
	text := m.Bytes
	if !m.Binary {
		text = []byte(m.Text)
	}
	if err := json.Unmarshal(text, v); err != nil {
		return &MessageError{Code: CodeInvalidData, Problem: "got a message that is not the JSON expected", Err: err}
	}
	return nil
}

// Wait receives and drops messages until the connection has ended, for an application that only
// sends. It returns nil then, or the panics of functions given to OnClose.
func (c *Conn) Wait() error {
	return c.Each(func(pagi.WebSocketReceive) error { return nil })
}
