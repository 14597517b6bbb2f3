// Package middleware holds one middleware per file. Each is a struct whose
// exported fields are its options, whose zero value works, and whose Wrap method
// puts it around an application; Check (see pagi.Checker) names a wrong option.
//
//	app = pagi.Chain(app, middleware.RequestID{}, middleware.SecurityHeaders{})
//
// A middleware speaks the vocabulary of package pagi and nothing else: it does not know which
// server calls it nor what the application is made of. It hands a changed copy of the scope down,
// and never changes the scope itself.
package middleware

import (
	"context"
	"errors"
	"log/slog"

	"github.com/pagi-go/pagi-bridge/pagi"
)

// editStart returns a Send that lets edit change the headers of the event that
// begins a response or accepts a WebSocket. edit gets a copy.
func editStart(send pagi.Send, edit func(*pagi.Headers)) pagi.Send {
	out := outgoing{send: send}
	out.editHeaders(edit)
	return out.sender()
}

// edited returns a copy of headers that edit has changed.
func edited(h pagi.Headers, edit func(*pagi.Headers)) pagi.Headers {
	h = h.Clone()
	edit(&h)
	return h
}

// wrap is wrapPassage for a middleware at which a passage ends.
func wrap(m pagi.Checker, life pagi.App, serve pagi.AppFunc) pagi.App {
	return wrapPassage(m, life, func(ctx context.Context, p passage) error { return serve(ctx, p.scope, p.receive, p.sender()) })
}

// checkName reports an option that is not a header name.
func checkName(option, name string) error {
	if (pagi.Headers{{Name: name}}).Validate("") != nil {
		return pagi.BadOption(option, "%q is not a header name", name)
	}
	return nil
}

// checkValue reports an option that cannot be the value of a header.
func checkValue(option, value string) error {
	if (pagi.Headers{{Name: "x", Value: value}}).Validate("") != nil {
		return pagi.BadOption(option, "%q must not contain control characters", value)
	}
	return nil
}

// renamed returns the error of a part's part with another name of an option.
func renamed(err error, from, to string) error {
	if joined, is := err.(interface{ Unwrap() []error }); is {
		var errs []error
		for _, err := range joined.Unwrap() {
			errs = append(errs, renamed(err, from, to))
		}
		return errors.Join(errs...)
	}
	if bad, is := err.(*pagi.OptionError); is && bad.Option == from {
		return &pagi.OptionError{Option: to, Err: bad.Err}
	}
	return err
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// logger returns the logger of an option; nil stands for slog.Default.
func logger(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.Default()
	}
	return l
}
