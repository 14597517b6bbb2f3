package pagi

import (
	"errors"
	"fmt"
)

// ErrUnsupported is what an application's error wraps when it declined a scope
// type. Test with errors.Is.
var ErrUnsupported = errors.New("unsupported scope type")

// Unsupported returns the error with which an application must decline a scope
// of a type it does not handle.
func Unsupported(scope *Scope) error {
	return fmt.Errorf("%w: %q", ErrUnsupported, scope.Type)
}

// EventError is returned by Send for an event the specification forbids. The
// connection is still usable after it; what was sent before stands.
type EventError struct {
	// Type is the event's type.
	Type string
	// Field is the offending field in the specification's spelling, or "".
	Field string
	// Problem says what is wrong and what would be right.
	Problem string
}

func (e *EventError) Error() string {
	if e.Field == "" {
		return e.Type + ": " + e.Problem
	}
	return e.Type + ": '" + e.Field + "' " + e.Problem
}

// OptionError is what a Checker returns for an option that cannot work.
type OptionError struct {
	// Option is its name as a site file spells it, "root" or "status".
	Option string
	// Err says what is wrong with it and what would be right.
	Err error
}

func (e *OptionError) Error() string { return e.Option + ": " + e.Err.Error() }

// Unwrap returns Err.
func (e *OptionError) Unwrap() error { return e.Err }

// BadOption returns an *OptionError made as fmt.Errorf makes an error.
func BadOption(option, format string, args ...any) error {
	return &OptionError{Option: option, Err: fmt.Errorf(format, args...)}
}

// DisconnectError is the cause (context.Cause) with which an application's
// context ends when its connection ended abnormally.
type DisconnectError struct {
	// Reason is one of the standard reasons, or begins with "x-".
	Reason string
}

func (e *DisconnectError) Error() string { return "disconnected: " + e.Reason }

// StatusError is an error that asks for a certain response status where the
// server or a middleware turns an application's failure into a response, before
// the response has started. Message may be shown to the client; Err is for the
// log.
type StatusError struct {
	Status  int
	Message string
	// Headers go into the response, a retry-after for example.
	Headers Headers
	Err     error
}

func (e *StatusError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("%d: %v", e.Status, e.Err)
	}
	return fmt.Sprintf("%d: %s", e.Status, e.Message)
}

// Unwrap returns Err.
func (e *StatusError) Unwrap() error { return e.Err }

// PanicError is the error an application's panic becomes at the server.
type PanicError struct {
	Value any
	// Stack is the panicking goroutine's, as runtime/debug.Stack formats it.
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap returns the panic's value where it was an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
