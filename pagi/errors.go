package pagi

import (
	"errors"
	"fmt"
)

// ErrUnsupported is wrapped by the error of an application that declines a scope type. Test with
// errors.Is.
var ErrUnsupported = errors.New("unsupported scope type")

// Unsupported returns the error with which an application must decline a scope
// of a type it does not handle.
func Unsupported(scope *Scope) error {
	return fmt.Errorf("%w: %q", ErrUnsupported, scope.Type)
}

// EventError is returned by Send for an event the specification forbids. The connection is still
// usable after it, and earlier events stay valid.
type EventError struct {
	// Type is the event's type.
	Type string
	// Field is the offending field in the specification's spelling, or "".
	Field string
	// Problem says what is wrong and how to correct it.
	Problem string
}

func (e *EventError) Error() string {
	if e.Field == "" {
		return e.Type + ": " + e.Problem
	}
	return e.Type + ": '" + e.Field + "' " + e.Problem
}

// OptionError is the error of a Checker for an option that cannot work.
type OptionError struct {
	// Option is the option's name in a site file, "root" or "status".
	Option string
	// Err says what is wrong with the option and how to correct it.
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

// StatusError is an error of an application that asks for a certain response status. The server or
// a middleware uses it when it turns the failure into a response, before the response has started.
// Message may be shown to the client; Err is for the log.
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

// PanicError is the error into which the server turns an application's panic.
type PanicError struct {
	Value any
	// Stack is the stack of the panicking goroutine, as runtime/debug.Stack formats it.
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap returns the panic's value if it was an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}
