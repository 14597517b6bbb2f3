package websocket

import (
	"errors"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// Stop ends a loop without closing the connection: the function given to Each or one of its kind
// returns it, and the loop returns nil.
//
//lint:ignore ST1012 it is no error, as fs.SkipDir is none
var Stop = errors.New("websocket: stop")

// Each calls f for every message until the connection has ended, then returns nil. If f returns an
// error, Each closes the connection with CodeInternalError, lets the functions given to OnClose run,
// and returns the error; see Stop for an exception. It does the same if f panics, and panics again.
func (c *Conn) Each(f func(pagi.WebSocketReceive) error) error {
	return c.each(func() error {
		m, err := c.Receive()
		if err != nil {
			return err
		}
		return c.handle(func() error { return f(m) })
	})
}

// EachText is Each for text messages. For a binary message it closes the connection with
// CodeUnsupportedData and returns a *MessageError.
func (c *Conn) EachText(f func(string) error) error {
	return c.each(func() error {
		text, err := c.ReceiveText()
		if err != nil {
			return err
		}
		return c.handle(func() error { return f(text) })
	})
}

// EachBytes is Each for binary messages. For a text message it closes the connection with
// CodeUnsupportedData and returns a *MessageError.
func (c *Conn) EachBytes(f func([]byte) error) error {
	return c.each(func() error {
		b, err := c.ReceiveBytes()
		if err != nil {
			return err
		}
		return c.handle(func() error { return f(b) })
	})
}

// EachJSON is Each for messages that are JSON, each decoded into a new T. For another message it
// closes the connection with CodeInvalidData and returns a *MessageError.
func EachJSON[T any](c *Conn, f func(T) error) error {
	return c.each(func() error {
		var v T
		if err := c.ReceiveJSON(&v); err != nil {
			return err
		}
		return c.handle(func() error { return f(v) })
	})
}

// each calls step until it fails.
func (c *Conn) each(step func() error) error {
	for {
		err := step()
		if err == nil {
			continue
		}
		var message *MessageError
		switch {
		case errors.Is(err, Stop):
			return nil
		case errors.Is(err, ErrNotAccepted):
			return err
		case c.Err() != nil && isClosed(err):
			return c.end.Run() // the client has left, or the application has closed
		case errors.As(err, &message):
			return errors.Join(err, c.Close(message.Code, ""), c.failed())
		}
		if c.Err() == nil { // receiving has failed
			c.end.Note(&CloseError{Code: CodeAbnormal, Reason: pagi.ReasonServerError})
			return errors.Join(err, c.end.Run())
		}
		return err
	}
}

// handle calls the function of a loop. If it fails, the connection is closed.
func (c *Conn) handle(f func() error) error {
	done := false
	defer func() {
		if !done { // it panics
			_ = c.Close(CodeInternalError, "")
		}
	}()
	err := f()
	done = true
	var gone *pagi.DisconnectError
	switch {
	case err == nil || errors.Is(err, Stop) || c.Err() != nil:
		return err
	case errors.As(err, &gone):
		return c.finish(&CloseError{CodeAbnormal, gone.Reason})
	}
	return errors.Join(err, c.Close(CodeInternalError, ""), c.failed())
}

// failed returns the panics of the functions given to OnClose, if the connection has ended.
func (c *Conn) failed() error {
	if c.Err() == nil {
		return nil // the Close could not be sent
	}
	return c.end.Run()
}
